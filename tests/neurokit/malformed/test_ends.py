"""Commands that are killed, and full disks: what is left is whole or not there, and the command works again."""

import contextlib
import io
import json
import multiprocessing
import os
import resource
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from neurokit import cli
from neurokit.artifact import Artifact
from neurokit.errors import TerminatedError
from neurokit.loading import load

from .conftest import MODEL
from .doors import MODELS, STUDY, _png

# Processes of a server that has imported everything once and runs no threads: a fork of the tests' own process, in
# which other tests have started some, can wait for a lock for ever.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["neurokit.cli", "neurokit.pipeline"])
_TO = ("--no-open", "--out", "deployed")
_NET = ("m.py:net", "--input-shape", "6", "--time-steps", "4")
_TRAIN = ("train", "pictures.py:picture", "--no-cache", "--recipe", "scratch", "--data", "d", "--epochs", "3")
_GOES_ON = ("deploy", "sweep")  # with what is done already
COMMANDS = {
    "export": ("export", *_NET, "--target", "onnx", "--out", "out"),
    "export over an artifact": ("export", *_NET, "--target", "onnx-step", "--out", "a", "--force"),
    "export to NIR": ("export", *_NET, "--target", "nir", "--out", "nir"),
    "export to C": ("export", *_NET, "--target", "c", "--numerics", "exact", "--out", "c"),
    "verify": ("verify", "a"),
    "bench": ("bench", "a", "--seconds", "0.2", "--meter", "none", "--out", "run.json", "--history", "h.jsonl"),
    "report": ("report", "a", "--html", "page.html"),
    "pack": ("bench", "a", "--seconds", "0.2", "--meter", "none", "--pack", "pack"),
    "train": (*_TRAIN, "--out", "out"),
    "sweep": ("sweep", "study.toml", "--out", "out"),
    "deploy": ("deploy", *_NET, "--data", "d.npz", "--target", "onnx", "--chip", "none", "--seconds", "0.1", *_TO),
}
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
SIZES = (1, 500, 4_000, 16_000, 64_000)  # bytes that a file may have


def _child(command, most, said):
    os.setsid()  # what it starts is ended with it
    if most is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    signal.signal(signal.SIGTERM, cli._terminate)
    out, err = io.StringIO(), io.StringIO()
    status = 70
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(list(command))
    except SystemExit as ended:
        status = ended.code
    with contextlib.suppress(OSError):
        said.send((status, err.getvalue()))
    os._exit(status if isinstance(status, int) else 70)


def run(command, *, kill=None, after=0.0, most=None):
    """Runs a command in a process of its own; returns its status (None where it was killed) and what it said."""
    mine, its = _SERVER.Pipe()
    process = _SERVER.Process(target=_child, args=(command, most, its))
    process.start()
    if kill is not None:
        process.join(after)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if kill == signal.SIGKILL else os.kill)(process.pid, kill)
    process.join(240)
    assert not process.is_alive(), "it hangs"
    return mine.recv() if mine.poll() else (None, "")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(MODEL)
    assert run(("export", *_NET, "--out", "a"))[0] == 0
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.random((8, 4, 6), dtype=np.float32), y=rng.integers(0, 3, 8))
    for at in range(8):
        _png(tmp_path / "d" / "ab"[at % 2] / f"{at}.png", at)
    (tmp_path / "pictures.py").write_text(MODELS)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def hold_whole(place):
    """Every artifact, report and line that carries its name is whole."""
    for manifest in place.rglob("manifest.json"):
        if not any(part.startswith(".") for part in manifest.relative_to(place).parts):
            artifact = Artifact.load(manifest.parent)
            for name in artifact.manifest.files:
                artifact.file(name)  # compares its sum
    for path in place.rglob("*.json"):
        if not any(part.startswith(".") for part in path.relative_to(place).parts):
            json.loads(path.read_text())
    for path in place.glob("*.jsonl"):
        assert path.read_text().endswith("\n")
        [json.loads(line) for line in path.read_text().splitlines()]
    for path in place.glob("out/last.ckpt"):
        torch.load(path, weights_only=True)
    for path in place.glob("out/record.json"):
        load_file(path.with_name("weights.safetensors"))
    for path in place.glob("*.html"):
        assert path.read_text().rstrip().endswith("</html>")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_any_moment(place, name):
    command = COMMANDS[name]
    begun = time.monotonic()
    status, said = run(command)
    whole = time.monotonic() - begun
    assert status == 0, said
    forced = name.startswith(("export", "train", "pack")) and "--force" not in command
    again = (*command, "--force") if forced else command
    rng = np.random.default_rng(len(name))
    for sent in SIGNALS * (2 if name == "deploy" else 5):
        status, said = run(again, kill=sent, after=whole * float(rng.uniform(0.02, 0.98)))
        assert status in (None, 0, 143), (status, said)
        assert "Traceback" not in said
        hold_whole(place)
    assert run(again)[0] == 0
    hold_whole(place)


@pytest.mark.slow
@pytest.mark.parametrize("most", SIZES)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(place, name, most):
    before = {path for path in place.rglob("*") if path.is_file()}
    status, said = run(COMMANDS[name], most=most)
    assert status in (0, 1, 2), (status, said[-600:])
    assert "Traceback" not in said
    hold_whole(place)
    assert Artifact.load(place / "a")
    if status == 2 and name not in _GOES_ON:
        assert sum(line.startswith("error") for line in said.splitlines()) == 1, said
        left = {path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert name == "train" or left == before, said  # its checkpoint may be whole, and the weights behind it not


def test_an_export_on_a_full_disk_leaves_nothing(place):
    status, said = run(COMMANDS["export"], most=4_000)
    assert status == 2, said
    assert sum(line.startswith("error") for line in said.splitlines()) == 1  # behind the lines of progress
    assert not (place / "out").exists()
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []


ENDS = {
    "interrupted": (KeyboardInterrupt(), 130),
    "terminated": (TerminatedError(143), 143),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_command_says_how_it_ended(monkeypatch, capsys, how):
    def ended(*_arguments):
        raise error

    error, status = ENDS[how]
    monkeypatch.setattr("neurokit.artifact.Artifact.load", ended)
    assert cli.main(["verify", "."]) == status
    assert capsys.readouterr().err == f"{how}; nothing was left half-written\n"


def test_the_end_of_a_command_is_not_a_fault_of_the_file_that_it_reads(tmp_path):
    (tmp_path / "m.py").write_text("from neurokit.errors import TerminatedError\nraise TerminatedError(143)")
    with pytest.raises(TerminatedError):
        load(f"{tmp_path}/m.py:net")
