"""Packs of artifacts beside whose files something else lies: only what the manifest lists is carried."""

import os
import shutil
import signal

import pytest

from neurokit import cli
from neurokit.bench.job import Job
from neurokit.bench.pack import write_pack

from .conftest import LIMIT_S, _too_late

BESIDE = {
    "a pipe": os.mkfifo,
    "a link to the whole disk": lambda path: path.symlink_to("/"),
    "a link to zeros without end": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a file": lambda path: path.write_text("mine"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_an_artifact_is_not_carried(sound, tmp_path, name):
    shutil.copytree(sound / "a", tmp_path / "a")
    BESIDE[name](tmp_path / "a" / "x")
    old = signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(4 * LIMIT_S)
    try:
        made = write_pack(tmp_path / "pack", [Job("artifact", str(tmp_path / "a"))])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    held = sorted(path.name for path in (made / "models" / "a").iterdir())
    assert held == ["manifest.json", "model.onnx", "vectors.npz"]


@pytest.mark.parametrize("option", ["--batch", "--threads", "--streams"])
def test_numbers_without_an_end(sound, refused, option):
    assert "none above" in refused("bench", sound / "a", "--pack", "out", option, "1000000000000")


def test_a_path_that_is_no_utf_8(sound, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", str(sound / "a"), "--pack", "o\udcff"]) == 0
    assert "copy 'o?' to the device" in capsys.readouterr().out
    assert (tmp_path / "o\udcff" / "bench.py").is_file()
