"""Bad input to the real pipeline: three lines that name the culprit, status 2, no traceback and nothing written."""

import json
from pathlib import Path

import pytest
import torch

from neurokit import cli

MODELS = """
import torch
from torch import nn
from spikingjelly.activation_based import layer, neuron

def good():
    torch.manual_seed(0)
    first, last = layer.Linear(6, 5, step_mode="m"), layer.Linear(5, 3, step_mode="m")
    return nn.Sequential(first, neuron.LIFNode(step_mode="m"), last)

def plain():
    return nn.Linear(6, 3)

def raises():
    raise ZeroDivisionError("in the factory")

def returns_text():
    return "no module"

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        if self.fc(x).sum() > 0:
            return self.fc(x)
        return -x[:, :3]

def branching():
    return Branching()

def poisoned():
    module = good()
    with torch.no_grad():
        module[0].weight[0, 0] = float("nan")
    return module
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder with m.py in it; returns status and the lines on standard error."""
    (tmp_path / "m.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        lines = capsys.readouterr().err.splitlines()
        return status, [line for line in lines if not line.startswith("done ")]

    return command


def export(model, *more, out="out"):
    return ("export", model, "--target", "onnx", "--out", out, "--input-shape", "6", *more)


def check_refusal(run, arguments, *words):
    before = sorted(Path().rglob("*"))
    status, lines = run(*arguments)
    assert status == 2, lines
    told = [line for line in lines if not line.startswith("  - ")]
    assert [line.split(":")[0] for line in told] == ["error", "expected", "fix"]
    text = "\n".join(lines)
    assert all(word in text for word in words), text
    assert [path for path in sorted(Path().rglob("*")) if "__pycache__" not in path.parts] == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "spiking_cn", "--out", "out"), ("unknown model 'spiking_cn'", "spiking_cnn")),
        (export("m.py:god"), ("no function 'god'", "good")),
        (export("n.py:good"), ("n.py does not exist", "m.py")),
        (export("m.py:raises"), ("ZeroDivisionError: in the factory",)),
        (export("m.py:returns_text"), ("returned a str",)),
        (("export", "m.py:good", "--out", "out"), ("--input-shape",)),
        (export("m.py:good", "--time-steps", "-1"), ("--time-steps is '-1'",)),
        (export("m.py:plain", "--time-steps", "4"), ("no spiking neurons",)),
        (export("m.py:good", "--target", "onxx"), ("unknown target 'onxx'", "onnx")),
        (export("m.py:good", "--option", "opsett=3"), ("no option 'opsett'",)),
        (export("m.py:good", "--weights", "none.pt"), ("none.pt does not exist",)),
        (export("m.py:branching"), ("model 'branching' cannot be captured", "control flow", "torch.where")),
        (export("m.py:poisoned"), ("NaN", "0.weight")),
        (export("m.py:plain", "--target", "onnx-step"), ("no neurons",)),
    ],
    ids=lambda value: " ".join(value[1:2]) if isinstance(value, tuple) else None,
)
def test_export_refuses(run, arguments, words):
    check_refusal(run, arguments, *words)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda state: state.pop("0.bias"), ("1 missing (0.bias)",)),
        (lambda state: state.update(extra=torch.zeros(1)), ("1 not in the model (extra)",)),
        (lambda state: state["0.weight"].fill_(float("nan")), ("NaN", "0.weight")),
        (lambda state: state.update({"0.weight": torch.zeros(5, 7)}), ("wrong shapes", "0.weight")),
    ],
    ids=["missing", "extra", "nan", "shape"],
)
def test_weights_that_do_not_fit(run, damage, words):
    state = {
        "0.weight": torch.zeros(5, 6),
        "0.bias": torch.zeros(5),
        "2.weight": torch.zeros(3, 5),
        "2.bias": torch.zeros(3),
    }
    damage(state)
    torch.save(state, "w.pt")
    check_refusal(run, export("m.py:good", "--weights", "w.pt"), *words)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def corrupt(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def other_target(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "target": "tensorrt"}))


def test_verify_refuses_a_damaged_artifact(run):
    assert run(*export("m.py:good", out="good"))[0] == 0
    pristine = {path: path.read_bytes() for path in Path("good").iterdir()}
    for name, damage, words in [
        ("model.onnx", truncate, ("model.onnx is truncated",)),
        ("model.onnx", corrupt, ("model.onnx was changed",)),
        ("model.onnx", Path.unlink, ("model.onnx is missing",)),
        ("manifest.json", truncate, ("manifest.json is no valid JSON",)),
        ("manifest.json", other_target, ("digest mismatch",)),
    ]:
        damage(Path("good") / name)
        check_refusal(run, ("verify", "good"), *words)
        for path, content in pristine.items():
            path.write_bytes(content)
    assert run("verify", "good")[0] == 0


def test_verify_refuses_to_compare_different_models(run):
    assert run(*export("m.py:good", out="a"))[0] == 0
    assert run(*export("m.py:plain", out="b"))[0] == 0
    status, lines = run("verify", "a", "b")
    assert status == 2
    assert "holds model 'plain'" in lines[0]
