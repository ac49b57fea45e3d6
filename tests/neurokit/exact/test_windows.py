"""Means behind the last layer and over windows: one rounding after whole numbers, the same bits everywhere."""

import copy

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec


class Net(nn.Module):
    def __init__(self, last):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out, self.lif = nn.Linear(10, 12), nn.Linear(12, 4), neuron.LIFNode(step_mode="m")
        self.conv, self.volume = nn.Conv2d(2, 6, 3, padding=1), nn.Conv3d(1, 4, 3, padding=1)
        self.last = last
        with torch.no_grad():
            for part in (self.fc, self.out, self.conv, self.volume):
                part.weight.mul_(3)

    def forward(self, x):
        return self.last(self, x)


def tokens(net, x):
    return net.out(net.lif(net.fc(x)))


def spikes(net, layer, x):
    return net.lif(layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])).flatten(0, 1)


def per_step(y, x):
    return y.flatten(1).unflatten(0, x.shape[:2])


NETS = {
    "mean of 7 tokens": ((7, 10), 4, lambda net, x: tokens(net, x).mean(2)),
    "mean of 7 tokens and 5 steps": ((7, 10), 5, lambda net, x: tokens(net, x).mean(2).mean(0)),
    "mean of 5 steps and 7 tokens": ((7, 10), 5, lambda net, x: tokens(net, x).mean(0).mean(1)),
    "shortcut before the mean": ((7, 10), 4, lambda net, x: (lambda y: (y + net.lif(y)).mean(2))(net.fc(x))),
    "pixels behind the last layer": (
        (2, 6, 6),
        4,
        lambda net, x: F.adaptive_avg_pool2d(net.conv(net.lif(x).mean(0)), 1).flatten(1),
    ),
    "whole volumes": (
        (1, 4, 6, 6),
        4,
        lambda net, x: per_step(F.adaptive_avg_pool3d(spikes(net, net.volume, x), 1), x),
    ),
    "parts of volumes": (
        (1, 4, 6, 6),
        4,
        lambda net, x: per_step(F.adaptive_avg_pool3d(spikes(net, net.volume, x), 2), x),
    ),
    "windows of volumes": (
        (1, 4, 6, 6),
        4,
        lambda net, x: per_step(F.avg_pool3d(spikes(net, net.volume, x), (2, 3, 3), padding=(0, 1, 1)), x),
    ),
    "windows that overlap": (
        (2, 7, 7),
        4,
        lambda net, x: per_step(F.adaptive_avg_pool2d(spikes(net, net.conv, x), 3), x),
    ),
    "windows of a signal": (
        (9, 10),
        4,
        lambda net, x: per_step(F.avg_pool1d(net.lif(net.fc(x)).flatten(0, 1).transpose(1, 2).contiguous(), 3), x),
    ),
}


def made(name):
    shape, steps, last = NETS[name]
    spec = ModelSpec("net", lambda: Net(last).eval(), (TensorSpec("x", shape),), time_steps=steps)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((steps, 3, *shape), generator=generator)
    return nk.exact(nk.capture(spec), x), x


@pytest.mark.parametrize("name", NETS)
def test_a_mean_is_rounded_once_after_whole_numbers(name, tmp_path):
    """The oracle is float64, in which sums and the product are exact, rounded to float32 at the end."""
    form, x = made(name)
    assert form.proof.status == "elementwise"
    assert form.against_float["output_relative_l2"] < 0.08
    program = copy.deepcopy(form.captured.program.module()).double()
    with torch.no_grad():
        wanted = program(x.double(), *(s.double() for s in form.captured.initial_states(3)))[0].float().numpy()
    artifact = nk.lower(form, "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] == "exact"
    session = onnxruntime.InferenceSession(artifact.path / "model.onnx")
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert len(np.unique(wanted)) > 2
    np.testing.assert_array_equal(found, wanted)


def test_a_step_whose_share_would_be_rounded_is_refused(tmp_path):
    form, _ = made("mean of 7 tokens and 5 steps")
    with pytest.raises(UnsupportedError, match="divided by a number that is no power of two and then added up over"):
        nk.lower(form, "onnx-step", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_windows_of_several_sizes_are_refused_for_what_they_are():
    last = lambda net, x: per_step(F.adaptive_avg_pool2d(spikes(net, net.conv, x), 5), x)  # noqa: E731
    spec = ModelSpec("net", lambda: Net(last).eval(), (TensorSpec("x", (2, 7, 7)),), time_steps=4)
    layers = nk.exact(nk.capture(spec)).proof.layers
    assert any("divides by a number that is no power of two, or by several" in layer.why for layer in layers)
