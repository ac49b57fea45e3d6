"""What an ended process, a full disk or a second writer leaves of an artifact: all of it, or nothing."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from neurokit import atomic
from neurokit.artifact import Artifact, write_artifact
from neurokit.errors import OutputError

from .artifacts import leftovers, manifest, write


def test_a_full_disk_is_told_as_such(tmp_path):
    with pytest.raises(OutputError, match="disk is full"), write_artifact(tmp_path / "m"):
        raise OSError(28, "No space left on device")
    assert leftovers(tmp_path) == []


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from artifacts import manifest
from neurokit import artifact, atomic

def stop(*args):
    print("now", flush=True)
    time.sleep(60)

with artifact.write_artifact({out!r}, force={force}) as draft:
    (draft.path / "model.onnx").write_bytes(b"y" * 1000)
    draft.manifest = manifest()
    {hook}
"""
HOOKS = {
    "while writing": "stop()",
    "before the rename": "atomic._move_in = stop",
    "between the renames": "atomic.Path.rename, real = (lambda a, b: (real(a, b), stop())), atomic.Path.rename",
}


@pytest.mark.parametrize(
    ("moment", "force"),
    [
        ("while writing", False),
        ("while writing", True),
        ("before the rename", False),
        ("before the rename", True),
        ("between the renames", True),
    ],
)
def test_sigkill_leaves_no_half_folder(tmp_path, moment, force):
    out = tmp_path / "m"
    if force:
        write(out, body=b"old")
    code = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), out=str(out), force=force, hook=HOOKS[moment]
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        assert list(atomic._leftovers(out, "partial")) == []  # a living writer's folder is no leftover
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(atomic._leftovers(out, "partial"))) == 1
    if moment == "between the renames":
        assert not out.exists()
        with pytest.raises(OutputError, match="exists already"):
            write(out)  # puts the old one back first
    if force:
        assert Artifact.load(out).file("model.onnx").read_bytes() == b"old"
    else:
        assert not out.exists()
    write(out, force=force, body=b"new")
    assert Artifact.load(out).file("model.onnx").read_bytes() == b"new"
    assert leftovers(tmp_path) == ["m"]


def test_two_writers_of_one_folder(tmp_path):
    with write_artifact(tmp_path / "m") as draft:
        with pytest.raises(OutputError, match="being written already"):
            write(tmp_path / "m")
        draft.manifest = manifest()
    assert leftovers(tmp_path) == ["m"]


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(atomic.fcntl, "flock", no_locks)
    (tmp_path / ".m.partial-1").mkdir()
    write(tmp_path / "m")
    write(tmp_path / "m", force=True, body=b"new")
    assert Artifact.load(tmp_path / "m").file("model.onnx").read_bytes() == b"new"
    assert leftovers(tmp_path) == [".m.partial-1", "m"]  # it could be a living writer's


def vouched(folder, say):
    atomic.write_vouched(folder / "record", f"record {say}".encode(), {"weights": f"weights {say}".encode()})


def found(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("at", range(4))
def test_a_file_never_lies_beside_others_than_those_that_it_speaks_of(tmp_path, monkeypatch, at):
    """Ended before, between and behind its steps: taking the old one away, putting the other in place, and it."""
    vouched(tmp_path, "old")
    steps = []

    def step(real):
        def one(*given, **more):
            steps.append(real)
            if len(steps) == at + 1:
                raise KeyboardInterrupt
            return real(*given, **more)

        return one

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(Path, "replace", step(Path.replace))
        unlink = Path.unlink

        def only_own(path, **more):
            return step(unlink)(path, **more) if path.name == "record" else unlink(path, **more)

        patched.setattr(Path, "unlink", only_own)
        vouched(tmp_path, "new")
    old, new = ({"record": f"record {say}", "weights": f"weights {say}"} for say in ("old", "new"))
    left = found(tmp_path)
    wanted = [old, {"weights": "weights old"}, {"weights": "weights new"}, new]
    assert left == wanted[at]


def test_a_full_disk_keeps_the_old_files(tmp_path, monkeypatch):
    vouched(tmp_path, "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="record cannot be written"):
        vouched(tmp_path, "new")
    assert found(tmp_path) == {"record": "record old", "weights": "weights old"}


def test_leftovers_of_files_are_cleared_and_what_is_being_written_is_not(tmp_path):
    (tmp_path / ".a.partial-1").write_text("left")
    with atomic._partial(tmp_path / "b", b"being written") as mine:
        atomic.clear_partials(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [mine.name]
