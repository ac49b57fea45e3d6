"""Code of before SpikingJelly 2.0, against its own equations written out in double."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from spikingjelly.activation_based.base import MemoryModule
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.capture.refused_neurons import refuse
from neurokit.errors import MissingRuntimeError, ModelLoadError
from neurokit.loading import load, spec_of_module
from neurokit.spec import ModelSpec, TensorSpec

FILE = Path(__file__).parent / "networks" / "old_spikingjelly.py"


def program_outputs(spec, x):
    captured = nk.capture(spec)
    with torch.no_grad():
        return captured, captured.program.module()(x, *captured.initial_states(x.shape[1]))[0].numpy()


def test_old_layers_over_time_become_the_neurons_that_have_one_node():
    spec = load(f"{FILE}:convolutional", (2, 4, 4), 4)
    x = torch.rand((4, 3, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    captured, found = program_outputs(spec, x)
    assert [(n.path, n.kind, n.op) for n in captured.neurons] == [
        ("lif", "LIFNode", "lif"),
        ("plif", "ParametricLIFNode", "plif"),
        ("out", "IFNode", "if_"),
    ]
    net = spec.build()
    with torch.no_grad():
        h = net.conv[1](net.conv[0](x.flatten(0, 1))).unflatten(0, (4, 3)).double()
        for decay, threshold in ((0.5, 1.0), (0.5, 1.0)):
            v, spikes = torch.zeros_like(h[0]), []
            for h_t in h:
                v = v + (h_t - v) * decay
                spikes.append((v >= threshold).double())
                v = v * (1 - spikes[-1])
            h = torch.stack(spikes)
        current = net.fc.double()(h.flatten(2))
        v, total = 0.0, 0.0
        for c in current:
            v = v + c
            spike = (v >= 0.3).double()
            v, total = v * (1 - spike), total + spike
    assert total.any()
    np.testing.assert_allclose(found, (total / 4).numpy(), atol=1e-6)


def own_neurons_by_hand(net, x):
    """The four neurons of `own_neurons` in their protocol: charge, fire, reset."""
    state = {place: {"v": 0.0, "th": 0.0} for place in (1, 3, 5, 7)}
    found = []
    for h in x:
        for place, part in enumerate(net):
            if place not in state:
                h = part(h)
                continue
            s = state[place]
            limit = 0.5 if place == 1 else 0.3
            quadratic = place == 3
            v = s["v"] + 0.5 * (s["v"] * (s["v"] - 0.3) + h) if quadratic else s["v"] + (h - s["v"]) / 2
            if place == 5:
                limit = part.th
            spike = (v >= limit + s["th"]).to(h.dtype)
            s["v"] = v * (1 - spike)
            if place == 7:
                s["th"] = s["th"] * 0.9 + 0.2 * spike
            h = spike
        found.append(h)
    return torch.stack(found).numpy()


def test_neurons_of_ones_own_are_run_by_charge_fire_and_reset():
    spec = load(f"{FILE}:own_neurons", (12,), 6)
    assert spec.time_input == "step"
    x = torch.rand((6, 3, 12), generator=torch.Generator().manual_seed(0)) * 2
    captured, found = program_outputs(spec, x)
    with torch.no_grad():
        expected = own_neurons_by_hand(spec.build().double(), x.double())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert {s.name for s in captured.states} >= {"3_v", "5_v", "7_v", "7_th"}
    step = captured.retrace(form="step")
    assert len(step.states) == len(captured.states)
    free = captured.retrace(time_steps="dynamic")
    again = free.program.module()(torch.cat((x, x)), *free.initial_states(3))[0]
    assert torch.equal(again[:6], torch.from_numpy(found))


def test_a_surrogate_of_the_old_signature_keeps_its_comparison():
    spec = load(f"{FILE}:strict_surrogate", (10,), 5)
    x = torch.randint(0, 3, (5, 4, 10), generator=torch.Generator().manual_seed(0)).float()
    found = program_outputs(spec, x)[1]
    net = spec.build().double()
    with torch.no_grad():
        v, expected, met = 0.0, [], 0
        for x_t in x.double():
            v = v + net[0](x_t)
            spike = (v > 1.0).double()
            met += int((v == 1.0).sum())
            v = v * (1 - spike)
            expected.append(net[2](spike))
    assert met > 0, "no membrane met the threshold"
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-5)


def test_nothing_of_the_aliases_is_left_behind():
    import spikingjelly
    from spikingjelly.activation_based import surrogate

    before = (list(sys.meta_path), surrogate.SurrogateFunctionBase.__init__)
    load(f"{FILE}:convolutional", (2, 4, 4), 4).build()
    assert (list(sys.meta_path), surrogate.SurrogateFunctionBase.__init__) == before
    assert not [name for name in sys.modules if name.startswith(("spikingjelly.clock_driven", "spikingjelly.cext"))]
    assert not hasattr(spikingjelly, "clock_driven")


def test_what_has_no_counterpart_is_named(tmp_path):
    (tmp_path / "m.py").write_text("from spikingjelly.clock_driven.nowhere import x\n")
    with pytest.raises(ModelLoadError, match=r"clock_driven\.nowhere of SpikingJelly before 2\.0 has no counterpart"):
        load(f"{tmp_path / 'm.py'}:net")


def override(base, name):
    """Returns a class derived from a neuron of SpikingJelly that defines one method of the old protocol."""

    def charge(self, x):
        self.v = 0.25 * self.v + x

    def fire(self):
        return (self.v >= 0.25).to(self.v)

    def reset(self, spike):
        self.v = self.v - 0.125 * spike

    made = {"neuronal_charge": charge, "neuronal_fire": fire, "neuronal_reset": reset}[name]
    return type(f"Own{base.__name__}", (base,), {name: made, "__module__": __name__})


@pytest.mark.parametrize("name", ["neuronal_charge", "neuronal_fire", "neuronal_reset"])
@pytest.mark.parametrize(
    "base",
    [
        neuron.IFNode,
        neuron.LIFNode,
        neuron.ParametricLIFNode,
        neuron.QIFNode,
        neuron.EIFNode,
        neuron.IzhikevichNode,
        neuron.KLIFNode,
        neuron.CUBALIFNode,
        neuron.ILIFNode,
        neuron.ComplementaryLIFNode,
    ],
)
def test_a_method_that_spikingjelly_never_calls_is_no_equation_of_a_neuron(base, name):
    made = override(base, name)()
    x = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0)) * 3
    assert torch.equal(made(x[0]), base()(x[0])), "SpikingJelly calls it after all"
    reason = refuse("sn", made)
    assert reason is not None
    assert name in reason.why
    assert "never calls" in reason.why


@pytest.mark.parametrize("base", [neuron.SimpleIFNode, neuron.SimpleLIFNode])
@pytest.mark.parametrize("name", ["neuronal_charge", "neuronal_fire", "neuronal_reset"])
def test_a_method_that_spikingjelly_calls_is_captured(base, name):
    arguments = {"tau": 2.0, "decay_input": True} if base is neuron.SimpleLIFNode else {}
    net = nn.Sequential(nn.Identity(), override(base, name)(**arguments))
    x = torch.randint(0, 9, (5, 2, 4), generator=torch.Generator().manual_seed(0)) / 4
    captured = capture(ModelSpec("own", lambda: net, (TensorSpec("x", (4,)),), 5, time_input="step"))
    found = captured.program.module()(x, *captured.initial_states(2))[0]
    functional.reset_net(net)
    expected = torch.stack([net(x_t) for x_t in x.double()])
    assert expected.any()
    assert torch.equal(found.double(), expected)


class Adapting(neuron.AdaptBaseNode):
    def neuronal_charge(self, x):
        self.v = self.v + (x - self.v - self.w) / 2


def test_a_neuron_derived_from_the_adaptive_base_adapts():
    net = Adapting(a=0.3, b=0.5, tau_w=4.0, v_rest=0.1)
    x = torch.randint(0, 9, (7, 2, 4), generator=torch.Generator().manual_seed(0)) / 4
    captured = capture(ModelSpec("own", lambda: net, (TensorSpec("x", (4,)),), 7, time_input="step"))
    found = captured.program.module()(x, *captured.initial_states(2))[0]
    v = w = np.zeros((2, 4))
    expected = []
    for now in x.double().numpy():
        v = v + (now - v - w) / 2
        w = w + (0.3 * (v - 0.1) - w) / 4
        expected.append(v >= 1)
        v, w = np.where(expected[-1], 0.0, v), w + 0.5 * expected[-1]
    assert np.stack(expected).any()
    assert np.array_equal(found.numpy() > 0, np.stack(expected))


def test_a_spikingjelly_of_before_2_is_named_in_a_line(monkeypatch):
    """0.0.0.0.14 is the only other release; nothing of 1.x is published."""
    from spikingjelly.activation_based import base

    place = Path(nk.__file__).parent / "capture" / "legacy.py"
    monkeypatch.delattr(base.MemoryModule, "multi_step_functional_forward")
    with pytest.raises(MissingRuntimeError, match=r"older than 2\.0"):
        runpy.run_path(str(place))


class Adaptive(MemoryModule):
    """A threshold that grows with every spike, by SpikingJelly's memories, as code of before 2.0 defines it."""

    def __init__(self):
        super().__init__()
        self.register_memory("v", 0.0)
        self.register_memory("level", 0.5)

    def single_step_forward(self, x):
        self.v = 0.7 * self.v + x
        spike = (self.v >= self.level).to(x)
        self.v = self.v * (1 - spike)
        self.level = 0.9 * self.level + 0.05 + 0.3 * spike
        return spike


@pytest.mark.parametrize("mode", ["s", "m"])
def test_a_class_with_memories_and_one_step_is_a_neuron(mode):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), Adaptive()).eval()
    functional.set_step_mode(net, mode)
    spec = spec_of_module(net, "adaptive", (6,), 7)
    assert spec.time_input == {"s": "step", "m": "sequence"}[mode]
    x = 3 * torch.rand((7, 3, 6), generator=torch.Generator().manual_seed(0))
    captured, found = program_outputs(spec, x)
    with torch.no_grad():
        current = net[0](x).double().numpy()
    v, level, wanted = 0.0, 0.5, []
    for h in current:
        v = 0.7 * v + h
        wanted.append((v >= level).astype(float))
        v, level = v * (1 - wanted[-1]), 0.9 * level + 0.05 + 0.3 * wanted[-1]
    assert 0.1 < np.mean(wanted) < 0.9
    assert np.array_equal(found, wanted)
    assert [neuron.kind for neuron in captured.neurons] == ["Adaptive"]
