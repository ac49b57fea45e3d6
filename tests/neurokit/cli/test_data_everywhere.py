"""Every command reads every kind of data: the same samples, however laid out, give each command the same figures."""

import json
import shutil

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.cli import main

COUNT, SHAPE = 6, (2, 8, 8)
NET = """import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurokit import ModelSpec, TensorSpec


def build():
    torch.manual_seed(3)
    net = nn.Sequential(layer.Flatten(), layer.Linear(128, 12), neuron.IFNode(), layer.Linear(12, 3))
    functional.set_step_mode(net, "m")
    return net.eval()


def net():
    return ModelSpec("tiny", build, (TensorSpec("x", (2, 8, 8)),), time_steps=4, classes=("a", "b", "c"))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The model, its artifact, and one set of event streams in every layout that holds events."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    dtype = [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")]
    rows = []
    for number in range(COUNT):
        events = np.zeros(60, dtype)
        events["t"] = np.sort(rng.integers(0, 10_000, 60)) + np.arange(60)
        events["x"], events["y"], events["p"] = rng.integers(0, 8, 60), rng.integers(0, 8, 60), rng.integers(0, 2, 60)
        label = "abc"[number // 2]
        name = f"{number}.npy"
        plain = np.stack([events[key].astype(np.int64) for key in "txyp"], axis=1)
        for kind, array in (("structured", events), ("plain", plain)):
            (folder / kind / label).mkdir(parents=True, exist_ok=True)
            np.save(folder / kind / label / name, array)
        rows.append({"path": f"structured/{label}/{name}", "label": label})
    (folder / "list.json").write_text(json.dumps(rows))
    (folder / "list.csv").write_text("file,class\n" + "".join(f"{r['path']},{r['label']}\n" for r in rows))
    from neurokit.data.sets import SampleFiles

    spec = nk.load(f"{folder}/net.py:net")
    found = SampleFiles.find(folder / "structured", spec, 4).labelled()
    np.savez(folder / "set.npz", x=found.x, y=found.y)
    nk.lower(nk.capture(spec), "onnx", folder / "onnx")
    return folder


LAYOUTS = ("structured", "plain", "list.json", "list.csv", "set.npz")


def asked(capsys, *words):
    status = main([*map(str, words), "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def oracle(place):
    """Labels that the module itself gets right, run by hand on the frames."""
    module = nk.load(f"{place}/net.py:net").build()
    with np.load(place / "set.npz") as data:
        x, y = torch.from_numpy(data["x"]), data["y"]
    with torch.no_grad():
        answers = module(x.transpose(0, 1).contiguous()).mean(0).argmax(1).numpy()
    return float((answers == y).mean()), answers


@pytest.mark.parametrize("layout", LAYOUTS)
def test_verify(place, oracle, capsys, layout):
    status, said = asked(capsys, "verify", place / "onnx", "--data", place / layout)
    assert status == 0
    (scores,) = said["scores"].values()
    assert scores["metrics"]["accuracy"]["value"] == pytest.approx(oracle[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_run(place, oracle, capsys, layout):
    status, said = asked(capsys, "run", place / "onnx", place / layout)
    assert status == 0
    assert [each["answer"]["class"] for each in said["answers"]] == oracle[1].tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_energy(place, capsys, layout):
    status, said = asked(capsys, "energy", f"{place}/net.py:net", "--chip", "loihi1", "--data", place / layout)
    assert status == 0
    assert said["samples"] == COUNT
    assert said["unsound"] == []
    assert said["test_set"]["events"]["mean"] > 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_deploys_plan(place, capsys, layout):
    status, said = asked(capsys, "deploy", f"{place}/net.py:net", "--data", place / layout, "--dry-run")
    assert status == 0
    assert said["plan"]["samples"] == COUNT
    assert said["plan"]["metric"] == "accuracy"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.slow
def test_export(place, oracle, tmp_path, capsys, layout):
    words = ["--numerics", "exact", "--calibration", place / layout, "--data", place / layout]
    status, said = asked(capsys, "export", f"{place}/net.py:net", "--out", tmp_path / "out", *words)
    assert status == 0
    assert said["accuracy"]["before"] == pytest.approx(oracle[0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.slow
def test_bench(place, oracle, capsys, layout):
    words = ["--seconds", "0.1", "--scenario", "single"]
    _, said = asked(capsys, "bench", place / "onnx", "--data", place / layout, *words)
    assert said["reports"][0]["scores"]["metrics"]["accuracy"]["value"] == pytest.approx(oracle[0])


COMMANDS = {
    "export": lambda place: ["export", f"{place}/net.py:net", "--out", "x", "--numerics", "exact", "--data"],
    "verify": lambda place: ["verify", f"{place}/onnx", "--data"],
    "bench": lambda place: ["bench", f"{place}/onnx", "--data"],
    "energy": lambda place: ["energy", f"{place}/net.py:net", "--chip", "loihi1", "--data"],
    "run": lambda place: ["run", f"{place}/onnx"],
    "deploy": lambda place: ["deploy", f"{place}/net.py:net", "--data"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_read_is_one_line_everywhere(place, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "lost.csv").write_text("path,label\nnowhere.npy,a\n")
    shutil.copy(place / "net.py", tmp_path / "text.xyz")
    for name in ("nowhere", "empty", "lost.csv", "text.xyz"):
        status = main([*COMMANDS[command](place), name])
        error = capsys.readouterr().err
        assert status == 2, (name, error)
        assert "Traceback" not in error
        assert name.split(".")[0] in error or "nowhere.npy" in error
    assert not (tmp_path / "x").exists()
