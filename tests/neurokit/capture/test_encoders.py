"""Encoders that code their first input and play it back: SpikingJelly's own run, call by call, is the oracle."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import encoding, functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module
from neurokit.spec import ModelSpec, TensorSpec

T, B = 7, 3
ENCODERS = {
    "latency": lambda: encoding.LatencyEncoder(4),
    "log": lambda: encoding.LatencyEncoder(4, "log"),
    "phase": lambda: encoding.WeightedPhaseEncoder(4),
}


def coded(name):
    torch.manual_seed(0)
    net = nn.Sequential(ENCODERS[name](), layer.Linear(6, 8), neuron.LIFNode(v_threshold=0.3)).eval()
    with torch.no_grad():
        net[1].weight.mul_(4)
    return net


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("latency", "onnx-step"),
        *(pytest.param(n, t, marks=pytest.mark.slow) for n in ENCODERS for t in ("onnx", "onnx-scan")),
    ],
)
def test_the_code_is_a_state(name, target, tmp_path):
    net = coded(name)
    spec = ModelSpec("c", lambda: net, (TensorSpec("x", (6,), low=0, high=0.9),), time_steps=T, time_input="step")
    artifact = nk.lower(nk.capture(spec), target, tmp_path / "a")
    assert artifact.manifest.parity["verdict"] != "failed"
    x = torch.rand(T, B, 6, generator=torch.Generator().manual_seed(1)) * 0.9  # another input at every call
    functional.reset_net(net)
    with torch.no_grad():
        expected = torch.stack([net(x_t) for x_t in x]).numpy()
    assert 0 < expected.mean() < 1
    with nk.open(artifact) as runner:
        if target == "onnx-step":
            runner.reset(batch=B)
            found = np.stack([runner.step(x_t.numpy()) for x_t in x])
        else:
            found = runner(x.numpy())
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_code_of_a_grid_is_spikingjellys(name):
    from neurokit.neurons.encoders import Encoder

    x = torch.linspace(0, 1 - 2**-4, 31).reshape(1, 31)
    theirs, ours = ENCODERS[name](), Encoder(ENCODERS[name]())
    for _ in range(6):  # the code is four steps long and begins again
        assert torch.equal(ours(x), theirs(x))


def test_an_encoder_that_takes_its_input_for_all_steps_is_refused_by_name():
    net = nn.Sequential(encoding.PeriodicEncoder(torch.ones(4, 1)), layer.Linear(6, 3), neuron.LIFNode()).eval()
    spec = ModelSpec("coded", lambda: net, (TensorSpec("x", (6,)),), time_steps=4, time_input="step")
    with pytest.raises(
        UnsupportedError, match="0: PeriodicEncoder: it takes its first input for the spikes of all steps"
    ):
        nk.capture(spec)


def test_a_value_outside_of_its_code_is_said_by_the_encoder_and_its_condition():
    """An assertion without a message ended the run."""
    net = nn.Sequential(encoding.WeightedPhaseEncoder(4), nn.Linear(6, 3), neuron.IFNode()).eval()
    with pytest.raises(
        UnsupportedError, match=r"0: WeightedPhaseEncoder: .*from 0 to 1, .*assert .*2 \*\* .*low=, high="
    ):
        nk.capture(spec_of_module(net, "coded", (6,), 4))
