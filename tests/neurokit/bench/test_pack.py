"""Benchmark packs: whole, readable by old Pythons, and measured without torch."""

import ast
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import neurokit as nk
from neurokit import cli
from neurokit.bench import pack as packing
from neurokit.bench.job import Job
from neurokit.bench.run import BenchRun
from neurokit.errors import InputError

from .rules import FAST

ROOT = Path(__file__).parents[3]


@pytest.fixture
def pack(artifacts, tmp_path):
    x = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
    with nk.open(artifacts["onnx"]) as runner:
        y = runner(np.repeat(x[None], 4, axis=0)).argmax(-1)
    y[0] = (y[0] + 1) % 10  # one of eight is wrong
    np.savez(tmp_path / "d.npz", x=x, y=y)
    jobs = [
        Job("artifact", str(artifacts["onnx"]), threads=1, rules=FAST, data=str(tmp_path / "d.npz")),
        Job("artifact", str(artifacts["onnx-step"]), "stream", threads=1, rules=FAST),
    ]
    return packing.write_pack(tmp_path / "pack", jobs)


BLOCKED = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    names = {"torch", "torchvision", "spikingjelly", "onnx", "onnxscript", "onnx_ir", "pydantic", "rich", "typer",
             "scipy", "psutil", "jinja2", "triton", "numba", "safetensors"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
"""


def test_the_pack_runs_without_torch_and_its_json_comes_back(pack, tmp_path):
    """Also in the processes that the script starts: the block is in a sitecustomize."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKED)
    env = {**os.environ, "PYTHONPATH": str(site)}
    out = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "bench.py", "--json", str(out)], cwd=pack, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    run = BenchRun.load(out)
    assert run.failures == ()
    assert [(r.target, r.scenario) for r in run.reports] == [("onnx", "single"), ("onnx-step", "stream")]
    assert all(len(r.samples_s) >= 20 and r.output_error < 1e-3 for r in run.reports)
    assert run.reports[0].accuracy == {"correct": 7, "total": 8, "data": "data-0.npz"}
    assert run.reports[0].scores["headline"] == "accuracy"
    assert "accuracy 87.50%" in done.stdout
    assert "median" in done.stdout
    page = tmp_path / "page.html"
    assert cli.main(["report", str(out), "--html", str(page)]) == 0
    assert "onnx-step" in page.read_text()


def test_a_pack_answers_for_files_as_run_does_without_torch(tmp_path):
    """A picture and a recording, each prepared on the device as its artifact declares."""
    from PIL import Image
    from scipy.io import wavfile
    from torch import nn

    from neurokit.spec import ModelSpec, TensorSpec

    def spec(name, shape):
        body = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3)).eval()
        return ModelSpec(name, lambda: body, (TensorSpec("x", shape),), classes=("a", "b", "c"))

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (31, 23, 3), dtype=np.uint8)).save(tmp_path / "p.png")
    wavfile.write(tmp_path / "s.wav", 8000, rng.integers(-9000, 9000, 4000, dtype=np.int16))
    pixels = [
        {"name": "Resize", "size": 12},
        {"name": "CenterCrop", "size": 8},
        {"name": "ToDtype", "scale": True},
        {"name": "Normalize", "mean": 0.4, "std": 0.3},
    ]
    sound = [
        {"name": "FixLength", "size": 2048},
        {"name": "MelSpectrogram", "sample_rate": 8000, "n_fft": 256, "hop_length": 128, "n_mels": 8},
        {"name": "AmplitudeToDB", "top_db": 60.0},
    ]
    made = {}
    for name, shape, steps in (("pixels", (3, 8, 8), pixels), ("sound", (1, 8, 17), sound)):
        made[name] = nk.lower(nk.load(spec(name, shape), preprocess=steps), "onnx", tmp_path / name)
    pack = packing.write_pack(tmp_path / "pack", [Job("artifact", str(each.path)) for each in made.values()])
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKED)
    env = {**os.environ, "PYTHONPATH": str(site)}

    def run(*words):
        command = [sys.executable, "run.py", *map(str, words)]
        return subprocess.run(command, cwd=pack, env=env, capture_output=True, text=True)

    for name, file in (("pixels", tmp_path / "p.png"), ("sound", tmp_path / "s.wav")):
        done = run(file, "--model", name, "--json")
        assert done.returncode == 0, done.stderr
        (shown,) = json.loads(done.stdout)["models"]
        (wanted,) = nk.answer(made[name], [file])
        assert shown == {"model": name, "answers": [{"file": str(file), "answer": wanted}]}
    wrong = run(tmp_path / "s.wav", "--model", "pixels")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "is a recording, the declared preprocessing is for pictures" in wrong.stderr
    assert "expected: pixels, sound" in run(tmp_path / "s.wav", "--model", "other").stderr


def test_the_pack_holds_only_what_old_pythons_read(pack):
    files = sorted(path.relative_to(pack).as_posix() for path in pack.rglob("*.py"))
    assert "neurokit/bench/method.py" in files
    assert not [name for name in files if "capture" in name or "pipeline" in name]
    for name in files:
        ast.parse((pack / name).read_text(), feature_version=packing.OLDEST_PYTHON)
        source = ROOT / name.replace("neurokit/export", "export")
        if name not in ("bench.py", "run.py"):
            assert (pack / name).read_bytes() == source.read_bytes()


def test_a_pack_appears_whole_and_is_not_overwritten(pack, artifacts):
    jobs = [Job("artifact", str(artifacts["onnx"]))]
    with pytest.raises(nk.errors.OutputError):
        packing.write_pack(pack, jobs)
    packing.write_pack(pack, jobs, force=True)
    assert len(json.loads((pack / "jobs.json").read_text())) == 1
    with pytest.raises(InputError, match="nothing to pack"):
        packing.write_pack(pack.parent / "p2", [])


def test_a_pack_scores_by_neurokits_own_tasks_only(tmp_path, monkeypatch):
    class Foreign:
        info = packing.TASKS.get("segmentation").info

    monkeypatch.setattr(packing.TASKS, "get", lambda name: Foreign())
    manifest = SimpleNamespace(task=SimpleNamespace(name="sign"))
    with pytest.raises(InputError, match="task 'sign' of here is of another distribution"):
        packing._refuse_foreign(SimpleNamespace(path="here", manifest=manifest))


def test_a_damaged_pack_says_so(pack, tmp_path):
    (pack / "models/onnx/model.onnx").write_bytes(b"x")
    (pack / "jobs.json").write_text(json.dumps(json.loads((pack / "jobs.json").read_text())[:1]))
    done = subprocess.run(
        [sys.executable, "bench.py", "--json", str(tmp_path / "r.json")], cwd=pack, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "sha256 mismatch" in done.stdout
    (pack / "jobs.json").write_text("nonsense")
    done = subprocess.run([sys.executable, "bench.py"], cwd=pack, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


@pytest.mark.slow
def test_the_pack_runs_in_an_environment_of_just_two_packages(pack, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin/python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "numpy", "onnxruntime"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip cannot install here: {done.stderr.splitlines()[-1] if done.stderr else ''}")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    assert subprocess.run([python, "-c", "import torch"], env=env, capture_output=True).returncode == 1
    out = tmp_path / "r.json"
    done = subprocess.run([python, "bench.py", "--json", str(out)], cwd=pack, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(BenchRun.load(out).reports) == 2
