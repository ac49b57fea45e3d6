"""SpikingJelly's conversion: its own numbers on the network as it is, and what a capture makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.ann2snn import Converter
from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe
from torch import nn

import neurokit as nk
from neurokit.data.synthetic import images
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.transforms import transform

SHAPE = (2, 8, 8)


def build() -> nn.Module:
    """Modules alone, which SpikingJelly's converter takes as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        parts = [nn.Conv2d(2, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 12), nn.ReLU()]
        return nn.Sequential(*parts, nn.Linear(12, 4)).eval()


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("mode=max", {"mode": "Max"}),
        ("mode=99.9%", {"mode": "99.9%"}),
        ("mode=max,channels=true", {"mode": "Max", "channel_wise": True, "half_threshold": True}),
    ],
)
def test_it_is_spikingjellys_own_network(setting, options, tmp_path):
    x = images(48, SHAPE, 2)
    np.save(tmp_path / "x.npy", x.numpy())
    spec = ModelSpec("net", build, (TensorSpec("x", SHAPE, low=-3.0, high=3.0),))
    made = transform(spec, [f"ann2snn:time_steps=6,{setting},calibration={tmp_path / 'x.npy'}"]).build()
    theirs = Converter(RateCodingRecipe([x], **options)).convert(build())
    functional.set_step_mode(theirs, "s")
    functional.reset_net(theirs)
    with torch.no_grad():
        wanted = sum(theirs(x) for _ in range(6)) / 6
        found = made(x.unsqueeze(0).expand(6, *x.shape))
    assert torch.allclose(found, wanted, atol=1e-5)
    assert float(wanted.std()) > 0.01


def test_networks_that_its_own_entry_refuses_are_converted_too(small_relus, tmp_path):
    """ReLU6 and functional calls; the network is then captured, lowered and verified like any other."""
    spec = transform(small_relus, ["ann2snn:time_steps=8,mode=max,channels=true"])
    x = images(16, SHAPE, 1)
    with torch.no_grad():
        found, wanted = spec.build()(x.unsqueeze(0).expand(8, *x.shape)), small_relus.build()(x)
    assert float((found - wanted).norm() / wanted.norm()) < 0.6
    captured = nk.capture(spec)
    assert [neuron.kind for neuron in captured.neurons] == ["HalfThresholdIFNode"] * 6
    assert nk.verify(nk.lower(captured, "onnx", tmp_path / "a")).passed
