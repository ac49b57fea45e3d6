"""Rare neurons are one operation of the program, with a step of their own: against their equations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from neurokit import pipeline
from neurokit.capture import capture
from neurokit.capture.stepping import step_program, stepwise_nodes
from neurokit.errors import InputError
from neurokit.hw_sim.trace import trace
from neurokit.neurons.stepwise import step_of
from neurokit.program.ops import Kind, is_kind

T, WIDTH = 6, 5


def qif(x, tau=2.0, critical=0.8, a0=1.0, rest=0.0, threshold=1.0, after=-0.1):
    v, spikes = np.full(x.shape[1:], after), []
    for now in x:
        v = v + (now + a0 * (v - rest) * (v - critical)) / tau
        spikes.append(v >= threshold)
        v = np.where(spikes[-1], after, v)
    return np.stack(spikes)


def eif(x, tau=2.0, sharpness=1.0, rheobase=0.8, rest=0.0, threshold=1.0, after=-0.1):
    v, spikes = np.full(x.shape[1:], after), []
    for now in x:
        v = v + (now + rest - v + sharpness * np.exp((v - rheobase) / sharpness)) / tau
        spikes.append(v >= threshold)
        v = np.where(spikes[-1], after, v)
    return np.stack(spikes)


def izhikevich(x, tau=2.0, critical=0.8, a0=1.0, rest=-0.1, tau_w=2.0, a=0.3, b=0.2, threshold=1.0, after=0.0):
    v, w, spikes = np.full(x.shape[1:], after), np.zeros(x.shape[1:]), []
    for now in x:
        v = v + (now + a0 * (v - rest) * (v - critical) - w) / tau
        w = w + (a * (v - rest) - w) / tau_w
        spikes.append(v >= threshold)
        v = np.where(spikes[-1], after, v)
        w = w + b * spikes[-1]
    return np.stack(spikes)


class Adaptive(neuron.BaseNode):
    """A neuron of a user, that takes the less of its input the fuller it is."""

    def single_step_functional_forward(self, inputs, states, **kwargs):
        (x,), (v,) = inputs, states
        v = v * 0.75 + x - 0.125 * x * v
        spike = (v >= self.v_threshold).to(v)
        return (spike,), (torch.where(spike.bool(), torch.zeros_like(v), v),)


def adaptive(x):
    v, spikes = np.zeros(x.shape[1:]), []
    for now in x:
        v = v * 0.75 + now - 0.125 * now * v
        spikes.append(v >= 1.0)
        v = np.where(spikes[-1], 0.0, v)
    return np.stack(spikes)


NEURONS = {
    "QIFNode": (lambda: neuron.QIFNode(step_mode="m"), qif),
    "EIFNode": (lambda: neuron.EIFNode(step_mode="m"), eif),
    "IzhikevichNode": (lambda: neuron.IzhikevichNode(a=0.3, b=0.2, step_mode="m"), izhikevich),
    "Adaptive": (lambda: Adaptive(step_mode="m"), adaptive),
}


def network(make) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(4, WIDTH, step_mode="m"), make(), layer.Linear(WIDTH, 3, step_mode="m"))
    with torch.no_grad():
        net[0].weight.uniform_(-0.5, 1.5)
    return net.eval()


def expected(net: nn.Module, equations, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    first, last = net[0], net[2]
    current = x.double().numpy() @ first.weight.detach().double().numpy().T + first.bias.detach().double().numpy()
    spikes = equations(current)
    assert 0.05 < spikes.mean() < 0.95
    return spikes, spikes @ last.weight.detach().double().numpy().T + last.bias.detach().double().numpy()


@pytest.fixture(scope="module", params=NEURONS)
def case(request):
    make, equations = NEURONS[request.param]
    net = network(make)
    x = torch.rand(T, 2, 4, generator=torch.Generator().manual_seed(3)) * 2.0
    return net, equations, x, capture(net, x)


def test_a_rare_neuron_is_one_operation_and_computes_its_equations(case):
    net, equations, x, captured = case
    (node,) = stepwise_nodes(captured.program)
    assert step_of(node.args[2]).path == "1"
    y = expected(net, equations, x)[1]
    found = captured.program.module()(x, *captured.initial_states(2))
    np.testing.assert_allclose(found[0].detach().numpy(), y, rtol=1e-4, atol=1e-5)


def test_its_step_is_a_program_in_plain_operations(case):
    net, equations, x, captured = case
    (node,) = stepwise_nodes(captured.program)
    step = step_program(node)
    for each in step.graph.nodes:
        if each.op == "call_function":
            assert not is_kind(each, Kind.STEPWISE, Kind.NEURON)
            assert str(each.target).startswith(("aten.", "<built-in"))
    module, states, made = step.module(), captured.initial_states(2), []
    with torch.no_grad():
        for now in net[0](x):
            y, *states = module(now, *states)
            made.append(y)
    assert np.array_equal(torch.stack(made).numpy() > 0, expected(net, equations, x)[0])


# A form is written of the step's program, whichever neuron's it is: of two neurons both are in every run.
BOTH_FORMS = ("IzhikevichNode", "Adaptive")
FORMS = [
    pytest.param(name, form, marks=() if name in BOTH_FORMS or form == once else pytest.mark.slow)
    for name, once in (("QIFNode", "onnx-scan"), ("EIFNode", "onnx-step"), *((each, "") for each in BOTH_FORMS))
    for form in ("onnx-scan", "onnx-step")
]


@pytest.mark.parametrize(("case", "form"), FORMS, indirect=["case"])
def test_it_is_written_in_every_form(case, form, tmp_path):
    net, equations, _x, captured = case
    artifact = pipeline.lower(captured, form, tmp_path / form)
    assert artifact.manifest.parity["passed"]
    assert b"stepping.py" not in artifact.file("model.onnx").read_bytes(), "a path of this machine"
    longer = torch.rand(T + 3, 3, 4, generator=torch.Generator().manual_seed(4)) * 2.0
    with pipeline.open(artifact) as runner:
        np.testing.assert_allclose(runner(longer.numpy()), expected(net, equations, longer)[1], rtol=1e-4, atol=1e-5)


def test_the_simulator_sees_its_spikes_and_where_they_go(case):
    net, equations, x, _captured = case
    one = x[:, :1].contiguous()
    load = trace(capture(net, one, batch=1), one)
    assert np.array_equal(load.rasters["1"].unpack() > 0, expected(net, equations, one)[0].reshape(T, -1))
    assert [into.kind for into in load.network.projections if into.source == "1"] == ["linear"]
    assert [item.path for item in load.network.uncounted] == ["1"]
    assert "priced as LIF" in load.network.uncounted[0].reason


def test_a_step_whose_capture_is_gone_is_named():
    with pytest.raises(InputError, match="'nowhere@1' is gone"):
        step_of("nowhere@1")
