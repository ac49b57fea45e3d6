"""Temporary folders: gone after their block, and after the next run where their process was killed."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from neurokit import scratch

KILLED = """
import os, signal
from neurokit.scratch import scratch
with scratch("a") as folder:
    (folder / "big").write_bytes(b"x")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def old(monkeypatch):
    """Has folders that were made just now be old enough."""
    monkeypatch.setattr(scratch, "_YOUNG_S", -1)


def test_it_is_there_in_its_block_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch.scratch("a") as folder:
        assert folder.parent == tmp_path
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path, old):
    made = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, text=True, capture_output=True
    )
    assert made.returncode == -signal.SIGKILL, made.stderr
    assert [str(path) for path in tmp_path.iterdir()] == [made.stdout.strip()]
    scratch.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_another_s_stays(tmp_path, old, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "neurokit-data").mkdir()
    (tmp_path / "neurokit-scratch-file").touch()
    (tmp_path / "neurokit-scratch-link").symlink_to(tmp_path / "neurokit-data")
    with scratch.scratch("a") as folder:
        scratch.clear(tmp_path)
        assert folder.is_dir()
        assert len(list(tmp_path.iterdir())) == 4
    (tmp_path / "neurokit-scratch-mine").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    scratch.clear(tmp_path)
    assert (tmp_path / "neurokit-scratch-mine").is_dir()


def test_a_young_one_may_be_without_its_lock_yet(tmp_path):
    (tmp_path / "neurokit-scratch-new").mkdir()
    scratch.clear(tmp_path)
    assert (tmp_path / "neurokit-scratch-new").is_dir()
