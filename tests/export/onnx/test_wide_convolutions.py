"""Convolutions over one axis, widened, answer as before in ONNX Runtime."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neurokit as nk
from neurokit.export.onnx.wide_convolutions import widen
from neurokit.spec import ModelSpec, TensorSpec


def chain(*layers):
    return nn.Sequential(*layers)


class Branches(nn.Module):
    """What stands between convolutions of a speaker model: parts, sums, a gate, reflections, one vector added."""

    def __init__(self):
        super().__init__()
        self.first, self.part = nn.Conv1d(8, 16, 1), nn.Conv1d(8, 8, 3, dilation=2)
        self.gate, self.last = nn.Conv1d(16, 16, 1), nn.Conv1d(24, 8, 5, padding=2, stride=2)
        self.norm = nn.BatchNorm1d(16)
        self.shift = nn.Parameter(torch.randn(8, 1))

    def forward(self, x):
        y = self.norm(self.first(x).relu())
        a, b = y.split(8, 1)
        b = self.part(F.pad(a + b, (2, 2), mode="reflect")) - a
        whole = torch.cat([a, b], 1)
        whole = whole * self.gate(whole.mean(2, keepdim=True)).sigmoid()
        return self.last(torch.cat([whole, b + self.shift + x], 1)).tanh().sum(2)


NETS = {
    "plain": (lambda: chain(nn.Conv1d(8, 16, 3), nn.ReLU(), nn.Conv1d(16, 8, 3), nn.Flatten()), 1, 1),
    "settings": (
        lambda: chain(
            nn.Conv1d(8, 16, 4, stride=3, padding=2, dilation=2, groups=4),
            nn.Sigmoid(),
            nn.ConstantPad1d((1, 2), 0.5),
            nn.Conv1d(16, 16, 3, groups=16, bias=False),
            nn.BatchNorm1d(16),
            nn.Softmax(1),
        ),
        1,
        1,
    ),
    "branches": (Branches, None, None),
}


def graph(folder, net):
    torch.manual_seed(0)
    made = net().eval()
    for part in made.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    spec = ModelSpec("net", lambda: made, (TensorSpec("x", (8, 40)),))
    return nk.capture(spec), folder / "model.onnx"


def counted(model):
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("name", NETS)
def test_it_answers_as_before(name, tmp_path):
    import onnxruntime

    from neurokit.export.onnx.convert import onnx_from_captured

    net, put_in, taken_out = NETS[name]
    captured, path = graph(tmp_path, net)
    model = onnx_from_captured(captured)
    before = counted(model)
    names = set(model.graph.initializers)
    ir.save(model, path)
    widen(model)
    ir.save(model, tmp_path / "wide.onnx")
    onnx.checker.check_model(tmp_path / "wide.onnx", full_check=True)
    x = np.random.default_rng(0).standard_normal((3, 8, 40), np.float32)
    wanted, found = (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for file in (path, tmp_path / "wide.onnx")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    weights = [node.inputs[1] for node in model.graph if node.op_type == "Conv"]
    assert all(len(weight.shape) == 4 and weight.name in names for weight in weights)
    after = counted(model)
    assert after - before == Counter(Unsqueeze=after["Unsqueeze"], Squeeze=after["Squeeze"]) - before
    if put_in is not None:
        assert (after["Unsqueeze"], after["Squeeze"]) == (put_in, taken_out)
    else:
        assert max(after["Unsqueeze"], after["Squeeze"]) <= 5


@pytest.mark.parametrize(
    "net",
    [
        lambda: chain(nn.Conv1d(8, 12, 3), nn.Flatten()),  # no whole blocks
        lambda: nn.Conv1d(8, 8, 3),  # its output is the network's
        lambda: chain(nn.Unflatten(1, (2, 4)), nn.Conv2d(2, 8, 3), nn.Flatten()),
    ],
)
def test_anything_else_stays_as_it_is(net, tmp_path):
    from neurokit.export.onnx.convert import onnx_from_captured

    model = onnx_from_captured(graph(tmp_path, net)[0])
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    widen(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("target", ["onnx", "onnx-int8"])
def test_an_artifact_of_it_is_verified(target, tmp_path):
    captured, _ = graph(tmp_path, Branches)
    given = {"calibration": torch.randn(8, 8, 40), "max_error": 0.5} if target == "onnx-int8" else {}
    artifact = nk.lower(captured, target, tmp_path / "a", **given)
    report = nk.verify(artifact)
    assert report.passed, report.notes
