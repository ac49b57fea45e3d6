"""Loops that read the number of their step: over any T by a law of two lengths, refused where a later one breaks it."""

import math

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.capture.rolling.laws import law_of
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module
from tests.neurokit.capture.networks.registry import Network, boosted, eager, seeded
from tests.neurokit.capture.test_networks import onnx_outputs

LAWS = {
    "t + 1": lambda t, n: t + 1,
    "T - t": lambda t, n: n - t,
    "t / T": lambda t, n: t / n,
    "1 - t / T": lambda t, n: 1 - t / n,
    "t / (T - 1)": lambda t, n: t / (n - 1),
    "1 / (t + 1)": lambda t, n: 1 / (t + 1),
    "0.1 t": lambda t, n: 0.1 * t,
    "0.37 + 0.0123456 t": lambda t, n: 0.37 + 0.0123456 * t,
    "0.9 ** t": lambda t, n: 0.9**t,
    "0.9 ** (T - t)": lambda t, n: 0.9 ** (n - t),
    "2 ** -(t + 1)": lambda t, n: 2.0 ** -(t + 1),
    "3 exp(-t / 7)": lambda t, n: 3 * math.exp(-t / 7),
    "1 / T": lambda t, n: 1 / n,
    "t exp(-t / 3)": lambda t, n: t * math.exp(-t / 3),
    "(2 t + 1) 0.8 ** t": lambda t, n: (2 * t + 1) * 0.8**t,
}


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", LAWS)
def test_a_law_of_two_lengths_holds_at_others(name, start):
    of = LAWS[name]
    law = law_of(*([of(t, steps) for t in range(start, steps)] for steps in (5, 7)), 5, 7, start)
    for steps in (6, 40):
        wanted = torch.tensor([float(of(t, steps)) for t in range(start, steps)]).double()
        found = law.values(steps, torch.float32).expand(steps)[start:].double()
        assert torch.equal(found, wanted.float().double())


@pytest.mark.parametrize("of", [lambda t: t % 2, lambda t: t * t, lambda t: [1, 3, 2, 7, 5, 6, 9][t]])
def test_what_follows_no_law_has_none(of):
    assert law_of([of(t) for t in range(5)], [of(t) for t in range(7)], 5, 7) is None


class Numbered(nn.Module):
    """A network by hand whose steps read their number."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.fc, self.out, self.t = kind, nn.Linear(10, 12), nn.Linear(12, 4), 0
        self.lif = neuron.LIFNode()

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        self.t, weight = 0, 1.0
        for t in range(x.shape[0]):
            self.t += 1
            v = v * (1 - t / x.shape[0]) + self.of_kind(self.fc(x[t]), t) * weight
            z = (v > 0.5).to(x.dtype)
            v = v - z * 0.5 / self.t
            found.append(self.out(z) * 0.9**t)
            weight = weight * 0.97
        return torch.stack(found)

    def of_kind(self, current, t):
        if self.kind == "phase":  # halves until the eighth step, and then from the start again
            return current * 2.0 ** -(t % 8)
        if self.kind == "ramp":
            return current * min(t / 100, 1.0)
        if self.kind == "branch":
            return current.abs() if t >= 20 else current
        return current / (t + 1)


class FirstSpike(Numbered):
    """The step of the first spike, noted as it fires, T where there is none; a refractory time in steps."""

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), 0
        first = torch.full_like(v, float(x.shape[0]))
        last = torch.full_like(v, -10.0)
        for t, q in enumerate(x):
            v = 0.9 * v + 0.1 * self.fc(q) * ((t - last) > 2)
            z = v > 0.5
            last = torch.where(z, torch.full_like(v, float(t)), last)
            first = torch.where(z & (first == x.shape[0]), torch.tensor(float(t), dtype=x.dtype), first)
            v = torch.where(z, 0.0, v)
            found = found + self.out(z.to(x.dtype))
        return found, first


class TensorCounter(Numbered):
    """The number of the step is a tensor, and the loop begins at the second step."""

    def forward(self, x):
        v, found, step = torch.zeros(x.shape[1], 12, dtype=x.dtype), [], torch.zeros((), dtype=x.dtype)
        for t in range(1, x.shape[0]):
            step = step + 1
            v = 0.9 * v + self.fc(x[t] - 0.5 * x[t - 1]) / step
            z = (v > 0.5).to(x.dtype)
            v = v - z * 0.5
            found.append(self.out(z))
        return torch.stack(found)


class OfDifferences(Numbered):
    """A loop over one step fewer than T."""

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for t, q in enumerate(x[1:] - x[:-1]):  # noqa: B007 it is read behind the loop
            v = 0.9 * v + self.fc(q)
            z = (v > 0.5).to(x.dtype)
            v = v - z * 0.5
            found.append(self.out(z))
        return torch.stack(found).sum(0) / t


class OfNeurons(Numbered):
    """Neurons of a library on a current that a number weights."""

    def forward(self, x):
        functional.reset_net(self)
        total = 0
        for t in range(x.shape[0]):
            total = total + self.out(self.lif(self.fc(x[t]) / (t + 1))) * 0.8**t
        return total


class OfTable(Numbered):
    """A learnt row, and a learnt number, of every step; a synapse's response over the steps."""

    def __init__(self, kind):
        super().__init__(kind)
        self.rows, self.gains = nn.Parameter(torch.randn(30, 12)), nn.Parameter(torch.rand(30) + 0.5)

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for t in range(x.shape[0]):
            v = 0.9 * v + self.fc(x[t]) * (t * math.exp(-t / 4)) + self.rows[t]
            z = (v > 0.5).to(x.dtype)
            v = v - z * 0.5
            found.append(self.out(z) * self.gains[t])
        return torch.stack(found)


class OfNormalised(Numbered):
    """Divides by what was added up over the steps behind the loop, or weights by an even and an odd step."""

    def forward(self, x):
        total, whole = 0.0, 0.0
        v = torch.zeros(x.shape[1], 12, dtype=x.dtype)
        for t in range(x.shape[0]):
            v = 0.9 * v + self.fc(x[t])
            weight = 1.0 + t % 2 if self.kind == "odd" else 0.8**t
            total, whole = total + self.out(v) * weight, whole + weight
        return total if self.kind == "odd" else total / whole


KINDS = {
    "a table": lambda: boosted(OfTable("plain"), 3.0),
    "decays": lambda: boosted(Numbered("plain"), 3.0),
    "first spikes": lambda: boosted(FirstSpike("plain"), 5.0),
    "a tensor, from the second step on": lambda: boosted(TensorCounter("plain"), 3.0),
    "of differences": lambda: boosted(OfDifferences("plain"), 3.0),
    "of neurons": lambda: boosted(OfNeurons("plain"), 9.0),
}


SLOW = {"first spikes", "of neurons", "of differences"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else []) for n in KINDS])
def test_a_loop_that_reads_its_step_over_any_number_of_steps(name):
    def build():
        seeded()
        return KINDS[name]()

    over_any = nk.capture(spec_of_module(build(), "net", (10,), 6)).retrace(time_steps="dynamic")
    for steps in (3, 24):
        x = torch.rand(steps, 4, 10, generator=torch.Generator().manual_seed(7))
        wanted = eager(Network(name, build, (10,), 6), x)
        for found, expected in zip(onnx_outputs(over_any, x), wanted, strict=True):
            assert expected.std() > 0, "a silent network shows nothing"
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)


class Halved(Numbered):
    """Every step reads its number, and none how many there are."""

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for t in range(x.shape[0]):
            v = 0.9 * v + self.fc(x[t]) * 0.9**t
            z = (v > 0.5).to(x.dtype)
            v = v - z * 0.5 / (t + 1)
            found.append(self.out(z))
        return torch.stack(found)


@pytest.mark.parametrize(
    ("make", "gain", "sums"),
    [(Halved, 3.0, False), (OfTable, 3.0, False), pytest.param(OfNeurons, 9.0, True, marks=pytest.mark.slow)],
)
def test_a_step_counts_itself_where_a_loop_reads_its_number(make, gain, sums):
    def build():
        seeded()
        return boosted(make("plain"), gain)

    stepped = nk.capture(spec_of_module(build(), "net", (10,), 6)).retrace(form="step")
    assert [state.dtype for state in stepped.states].count("int64") == 1
    module = stepped.program.module()
    for steps in (3, 24):
        x = torch.rand(steps, 4, 10, generator=torch.Generator().manual_seed(7))
        held, made = stepped.initial_states(4), []
        with torch.no_grad():
            for x_t in x:
                y, *held = module(x_t, *held)
                made.append(y)
        (wanted,) = eager(Network("net", build, (10,), 6), x)
        assert wanted.std() > 0
        found = sum(made) if sums else torch.stack(made)
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-5)


def test_a_step_that_reads_how_many_there_are_has_no_step_form():
    captured = nk.capture(spec_of_module(boosted(Numbered("plain"), 3.0), "net", (10,), 6))
    with pytest.raises(UnsupportedError, match="depends on how many steps there are"):
        captured.retrace(form="step")


@pytest.mark.parametrize(
    ("kind", "said"), [("even", "3.3616 over 5 steps and 3.95142"), ("odd", "1, 2, 1, 2, 1, 2, 1")]
)
def test_numbers_without_a_law_are_refused_with_their_line(kind, said):
    captured = nk.capture(spec_of_module(OfNormalised(kind), "net", (10,), 6))
    for form in ({"time_steps": "dynamic"}, {"form": "step"}):
        with pytest.raises(UnsupportedError, match=rf"test_counted\.py:\d+ a number .*{said}"):
            captured.retrace(**form)


class Softest(Numbered):
    """A softmax of the largest value over time."""

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for t in range(x.shape[0]):
            v = 0.9 * v + self.fc(x[t])
            found.append(self.out(v))
        return torch.stack(found).amax(0).softmax(-1)


def test_what_makes_an_output_of_all_steps_is_named():
    with pytest.raises(UnsupportedError, match="made by softmax, is neither one per step"):
        nk.capture(spec_of_module(Softest("plain"), "net", (10,), 6)).retrace(form="step")


@pytest.mark.parametrize("kind", ["phase", pytest.param("ramp", marks=pytest.mark.slow), "branch"])
def test_what_later_steps_do_otherwise_is_refused(kind):
    captured = nk.capture(spec_of_module(boosted(Numbered(kind), 3.0), "net", (10,), 6))
    with pytest.raises(UnsupportedError, match=r"test_counted\.py:\d+ its forward does otherwise at later steps"):
        captured.retrace(time_steps="dynamic")
