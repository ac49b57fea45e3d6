"""Networks without neurons in exact numerics: integer activations, the same bits everywhere."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.capture.reference import record
from neurokit.data.synthetic import images
from neurokit.models.torchvision_cnns import mobilenet_small, mobilenet_v2, resnet34

SIDE = 64


@pytest.fixture(
    scope="module",
    params=[mobilenet_small, *(pytest.param(make, marks=pytest.mark.slow) for make in (mobilenet_v2, resnet34))],
    ids=lambda make: make.__name__,
)
def network(request):
    spec = request.param()
    info = dataclasses.replace(spec.inputs[0], shape=(3, SIDE, SIDE))
    captured = nk.capture(dataclasses.replace(spec, inputs=(info,), example=None))
    return captured, nk.exact(captured, images(4, (3, SIDE, SIDE), 5), search=False)


def run(captured, x, dtype=torch.float32):
    return record(captured.program.module().to(dtype), (x.to(dtype),))[0][0]


def test_torchvisions_networks_are_proven_and_equal_everywhere(network, tmp_path):
    captured, made = network
    assert made.proof.status == "exact"
    assert all(entry.bits < 24 for entry in made.proof.layers)
    sums = [entry for entry in made.proof.layers if entry.kind == "sum"]
    assert len(sums) >= sum(isinstance(part, nn.Conv2d | nn.Linear) for part in captured.module.modules())
    x = images(5, (3, SIDE, SIDE), 9)
    y = run(made.captured, x)
    assert torch.equal(y.double(), run(made.captured, x, torch.float64))
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(y, run(made.captured, x))
    for i in range(2):
        assert torch.equal(run(made.captured, x[i : i + 1]), y[i : i + 1])
    artifact = nk.lower(made, "onnx", tmp_path / "a", inputs=x[:1], verified=False)
    report = nk.verify(artifact, thorough=True)
    assert report.verdict == "exact"
    assert len(report.ways) == 16
    assert all(way.outputs_equal for way in report.ways)
    float_ = run(captured, x)
    assert float((y - float_).norm() / float_.norm()) < 0.6  # random weights amplify what 8 bits lose
    with torch.backends.mkldnn.flags(enabled=False):
        assert not torch.equal(float_, run(captured, x)), "float is the same everywhere, so nothing is shown"


def test_one_weight_off_the_grid_fails_verification(tamper_tensor, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    x = images(4, (3, 8, 8))
    artifact = nk.lower(nk.exact(nk.capture(net, x), x), "onnx", tmp_path / "a", inputs=x)
    assert artifact.manifest.parity["verdict"] == "exact"

    def scale(value):
        value.reshape(-1)[np.abs(value).argmax()] *= np.float32(1 + 2.0**-10)
        return value

    broken = tamper_tensor(artifact, lambda name: name.endswith("0.weight"), scale, tmp_path / "b")
    report = nk.verify(broken)
    assert report.verdict == "failed"
    assert any("bit for bit" in note for note in report.notes)
