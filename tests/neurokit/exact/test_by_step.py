"""Loops that carry values in variables of forward: one plan for every form; float64 is the judge."""

import numpy as np
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.exact.by_step import carried
from neurokit.loading import spec_of_module
from neurokit.target import TARGETS, LowerOptions
from tests.neurokit.exact.test_choices import on_grid

T = 5


class Leaky(nn.Module):
    """A neuron by hand that is set to a rest, a leaky readout, counts of its spikes, and the class that leads."""

    def __init__(self, leak=0.5, rest=-0.25):
        super().__init__()
        self.a, self.b, self.leak, self.rest = nn.Linear(8, 12), nn.Linear(12, 5), leak, rest

    def forward(self, x):
        v, m, count = (torch.zeros(x.shape[1], size, dtype=x.dtype) for size in (12, 5, 12))
        readouts, leading = [], []
        for step in x:
            v = self.leak * v + self.a(step)
            spikes = (v >= 1).to(x.dtype)
            v = torch.where(spikes > 0, torch.full_like(v, self.rest), v)
            m = self.leak * m + self.b(spikes)
            count += spikes
            readouts.append(m)
            leading.append(m.argmax(-1))
        return torch.stack(readouts), torch.stack(leading), count


def spec_of(net, name="net"):
    return spec_of_module(net, name, (8,), T)


def given(batch, seed=1):
    return torch.randint(0, 17, (T, batch, 8), generator=torch.Generator().manual_seed(seed)) / 16


def by_onnx(folder, x):
    """Runs a sequence by ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[: len(session.get_outputs())]


def by_steps(artifact, x):
    """Runs the steps one by one by ONNX Runtime alone; returns every output of every step."""
    session = onnxruntime.InferenceSession(str(artifact.file("model.onnx")))
    states = {
        s.input: np.full([x.shape[1] if size == "B" else size for size in s.shape], s.init, s.dtype)
        for s in artifact.manifest.states
    }
    steps = []
    for step in x.numpy():
        made = session.run(None, {artifact.manifest.inputs[0].name: step, **states})
        named = dict(zip((port.name for port in session.get_outputs()), made, strict=True))
        states = {s.input: named[s.output] for s in artifact.manifest.states}
        steps.append([named[port.name] for port in artifact.manifest.outputs])
    return steps


@pytest.fixture(scope="module")
def leaky():
    """The exact form of `Leaky` on a grid."""
    return nk.exact(nk.capture(spec_of(on_grid(Leaky()))), given(16))


def test_on_a_grid_every_form_is_eager_float64(leaky, tmp_path):
    made = leaky
    assert made.plan.by_step
    assert made.proof.status == "exact"
    x = given(6, seed=2)
    with torch.no_grad():
        want = [y.numpy() for y in on_grid(Leaky()).double()(x.double())]
    assert all(y.std() > 0 for y in want)
    artifacts = {target: nk.lower(made, target, tmp_path / target) for target in ("onnx", "onnx-step", "c")}
    assert {a.manifest.parity["verdict"] for a in artifacts.values()} == {"exact"}
    for ours, theirs in zip(by_onnx(tmp_path / "onnx", x), want, strict=False):
        np.testing.assert_array_equal(ours, theirs)
    steps = by_steps(artifacts["onnx-step"], x)
    np.testing.assert_array_equal(np.stack([y[0] for y in steps]), want[0])
    np.testing.assert_array_equal(np.stack([y[1] for y in steps]), want[1])
    np.testing.assert_array_equal(steps[-1][2], want[2])
    with nk.open(artifacts["c"]) as runner:
        for ours, theirs in zip(runner({"input": x.numpy()}).values(), want, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_counts_are_proven_for_t_steps(leaky):
    assert leaky.proof.steps == T


@pytest.mark.slow
def test_a_leak_that_is_rounded_is_the_same_number_everywhere(tmp_path):
    torch.manual_seed(0)
    net = Leaky(leak=0.9, rest=-0.1).eval()
    with torch.no_grad():
        net.a.weight.mul_(3)
    made = nk.exact(nk.capture(spec_of(net)), given(32))
    x = given(6, seed=3)
    found = {}
    for target in ("onnx", "onnx-step", "c"):
        artifact = nk.lower(made, target, tmp_path / target)
        assert artifact.manifest.parity["verdict"] == "exact"
        with nk.open(artifact) as runner:
            found[target] = runner({"input": x.numpy()})
    for name, ours in found["onnx"].items():
        for target in ("onnx-step", "c"):
            np.testing.assert_array_equal(found[target][name], ours)
    assert made.against_float["output_relative_l2"] < 0.3


class Readout(nn.Module):
    """A neuron of SpikingJelly in the loop, and a leaky readout in a variable."""

    def __init__(self):
        super().__init__()
        self.a, self.n, self.b = nn.Linear(8, 12), neuron.LIFNode(v_threshold=0.5), nn.Linear(12, 5)

    def forward(self, x):
        v = torch.zeros(x.shape[1], 5, dtype=x.dtype)
        for step in x:
            v = 0.5 * v + self.b(self.n(self.a(step)))
        return v


def test_a_neuron_beside_the_variable_stays_a_layer():
    captured = nk.capture(spec_of(on_grid(Readout())))
    made = nk.exact(captured, given(16))
    assert made.plan.by_step
    assert set(made.captured.calls) == {"n"}
    assert not TARGETS.get("c").check(made.captured, LowerOptions(numerics="exact"))
    assert [state.neuron for state in made.captured.states] == ["n"]
    assert [state.neuron for state in carried(made.captured.retrace(form="step"))] == [""]
    x = given(6, seed=4)
    with torch.no_grad():
        found = made.captured.program.module()(x, *made.captured.initial_states(6))[0]
        want = on_grid(Readout()).double()(x.double())
    np.testing.assert_array_equal(found.double().numpy(), want.numpy())


class Recurrent(nn.Module):
    """The neuron itself reads the step before: in single steps it is plain operations."""

    def __init__(self):
        super().__init__()
        self.a, self.r, self.n = nn.Linear(8, 12), nn.Linear(12, 12), neuron.LIFNode(v_threshold=0.5)

    def forward(self, x):
        s, out = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for step in x:
            s = self.n(self.a(step) + self.r(s))
            out.append(s)
        return torch.stack(out)


def test_steps_of_a_recurrent_neuron_are_refused_with_the_reason(tmp_path):
    made = nk.exact(nk.capture(spec_of(on_grid(Recurrent()))), given(16))
    assert not made.plan.by_step
    for target in ("onnx-step", "c"):
        with pytest.raises(UnsupportedError, match=r"no exact form that runs step by step.*\n.*use --target onnx"):
            nk.lower(made, target, tmp_path / "a")
        assert not (tmp_path / "a").exists()
