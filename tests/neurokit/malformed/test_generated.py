"""Malformed input that a generator draws, through every door: an answer or one clear line, and never anything else."""

import contextlib
import io
import json
import shutil
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit import cli
from neurokit.bench import device
from neurokit.bench.job import Job, Rules
from neurokit.bench.pack import write_pack

from .conftest import LIMIT_S, MODEL, TooLateError, _too_late
from .generated import DOORS, EVERY, FAST, TOTAL, copied, spoil


def _module():
    scope = {}
    exec(MODEL, scope)
    return scope["net"]()


@pytest.fixture(scope="module")
def sound_files(tmp_path_factory):
    """A sound file for every door."""
    from safetensors.torch import save_file

    from neurokit.bench.run import BenchRun

    folder = tmp_path_factory.mktemp("every")
    (folder / "m.py").write_text(MODEL)
    module, x = _module(), torch.rand(4, 2, 6)
    captured = nk.capture(module, x)
    for name, target in (("a", "onnx"), ("s", "onnx-step"), ("nir", "nir")):
        nk.lower(captured, target, folder / name)
    (folder / "net.nir").write_bytes((folder / "nir" / "model.nir").read_bytes())
    plain = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).eval()
    torch.export.save(torch.export.export(plain, (torch.zeros(2, 6),)), folder / "net.pt2")
    nk.lower(nk.capture(plain, torch.zeros(2, 6)), "onnx", folder / "plain", verified=False)
    (folder / "net.onnx").write_bytes((folder / "plain" / "model.onnx").read_bytes())
    torch.save(module.state_dict(), folder / "w.pt")
    save_file(module.state_dict(), str(folder / "w.safetensors"))
    np.save(folder / "x.npy", np.zeros((4, 6), np.float32))
    row = nk.benchmark(folder / "a", seconds=0.02, threads=1, meter="none")
    (folder / "run.json").write_text(json.dumps(BenchRun(reports=(row,)).to_json()))
    (folder / "parity.json").write_text(json.dumps(nk.verify(folder / "a", record=False).to_json()))
    entry = {"time": "2026-11-28", "verdict": "VALID", "key": "k", "machine": "m", "git": "", "p50_s": 1.0}
    entry |= {"low_s": 0.9, "high_s": 1.1, "samples": 3}
    (folder / "h.jsonl").write_text("\n".join(json.dumps(entry) for _ in range(3)) + "\n")
    shutil.copy(next(Path(nk.__file__).parents[1].rglob("chips/**/loihi1.toml")), folder / "chip.toml")
    write_pack(folder / "pack", [Job("artifact", str(folder / "a"), rules=Rules(seconds=0.01))])
    return folder


def _run(command, monkeypatch):
    """Runs a command of the product, or what a pack reads before it measures."""
    if command == ("pack",):
        monkeypatch.setattr(device, "_run", lambda jobs, given, here: 0)
        return device.main([], here=Path("pack"))
    return cli.main(list(command))


def _hold(sound_files, tmp_path, monkeypatch, name, number):
    copied(sound_files, tmp_path)
    said = spoil(name, number, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    out, err = io.StringIO(), io.StringIO()
    old = signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(6 * LIMIT_S)  # a hang; the machine may be loaded
    start = time.process_time()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = _run(DOORS[name].command, monkeypatch)
    except TooLateError:
        pytest.fail(f"{said}: it hangs")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    spent = time.process_time() - start
    assert status in (0, 1, 2), (said, status, err.getvalue()[-800:])
    assert "Traceback" not in err.getvalue() + out.getvalue(), said
    if status == 2:
        lines = [line.split(":")[0] for line in err.getvalue().splitlines() if not line.startswith(("done ", "  - "))]
        assert lines[:1] == ["error"], (said, err.getvalue()[-800:])
        assert set(lines) <= {"error", "expected", "fix"}, (said, err.getvalue()[-800:])
        after = {path for path in tmp_path.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert after == set(before), said
        assert spent < LIMIT_S, said


@pytest.mark.parametrize(("name", "number"), FAST)
def test_a_sample_through_every_door(sound_files, tmp_path, monkeypatch, name, number):
    _hold(sound_files, tmp_path, monkeypatch, name, number)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [case for case in EVERY if case not in FAST])
def test_all_of_them(sound_files, tmp_path, monkeypatch, name, number):
    _hold(sound_files, tmp_path, monkeypatch, name, number)


def test_there_are_three_hundred_and_more():
    assert TOTAL >= 300
    assert len(FAST) <= 45
