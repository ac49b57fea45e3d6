"""Rounding bounds of exponentials and quotients, whose slope has no limit, and verification of what they encode."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.parity.covering import UNBOUNDED
from neurokit.parity.curved import numbers
from neurokit.parity.rounding import ErrorAnalysis, coarsest
from neurokit.spec import ModelSpec, TensorSpec
from tests.neurokit.parity.test_check import planted


def gaussian(x, width=0.15):
    """A population code: each feature by how near it is to six centres."""
    return torch.exp(-0.5 * ((x.unsqueeze(-1) - torch.linspace(0, 1, 6, dtype=x.dtype)) / width) ** 2)


FUNCTIONS = {
    "code": gaussian,
    "share": lambda x: gaussian(x) / gaussian(x).sum(-1, keepdim=True),
    "root": lambda x: torch.rsqrt(gaussian(x).sum(-1)),
    "logarithm": lambda x: torch.log(gaussian(x).sum(-1) - 0.5),
    "inverse": lambda x: torch.reciprocal(x - 2.0),
}


class Computes(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def bound(function, x):
    module = torch.export.export(Computes(function), (x,), strict=False).module()
    found = numbers(module, [], (x,), False)
    assert found
    with torch.no_grad():
        made = ErrorAnalysis(module, [], numbers=found).run(x)
    return replace(made, unit=coarsest(module)).error().double()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_is_within_a_bound_that_is_small(name):
    function, x = FUNCTIONS[name], torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    off, exact = bound(function, x), function(x.double())
    assert ((function(x).double() - exact).abs() <= off).all()
    assert off.max() < 0.02 * exact.abs().max()  # magnitudes gave a code no bound, and its shares a bound of 0


def test_a_share_of_numbers_below_the_smallest_has_no_bound():
    """Some runtimes take them for 0, and 0 of 0 is no number."""
    x = torch.tensor([[0.5, 3.0, -3.0, 40.0]])
    sums = gaussian(x).sum(-1)[0]
    assert 0 < sums[1] < 2.0**-126
    assert sums[3] == 0
    off = bound(FUNCTIONS["share"], x)[0]
    assert off[0].max() < 1e-2
    assert off[1:].min() >= UNBOUNDED


class Encodes(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.n = nn.Linear(24, 8, bias=False), neuron.LIFNode(step_mode="m")
        self.a.weight.data.mul_(9.0)

    def forward(self, x):
        return self.n(self.a(FUNCTIONS["share"](x).flatten(-2))).mean(0)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    spec = ModelSpec("net", lambda: Encodes().eval(), (TensorSpec("x", (4,)),), time_steps=6)
    return nk.lower(nk.capture(spec), "onnx", tmp_path_factory.mktemp("curved") / "a")


@pytest.mark.filterwarnings("error:overflow:RuntimeWarning")
def test_a_population_code_is_verified_within_and_beyond_its_range(artifact):
    """It failed in both: a bound of 0, and 0 of 0 where the reference had numbers below the smallest normal one."""
    report = nk.verify(artifact, record=False)
    assert report.verdict == "benign rounding"
    assert report.layers[0].bound < 0.05
    assert report.layers[0].spike_rate > 0
    assert any("currents on inputs beyond the declared range have no bound" in line for line in report.unseen)


@pytest.mark.parametrize("fault", ["weight", "width", "not normalised"])
def test_a_fault_behind_or_in_the_code_fails(artifact, tmp_path, fault):
    """Of a narrow code nothing could fail: e to the magnitude of its exponent was no bound."""

    def plant(model):
        if fault == "not normalised":
            node = next(n for n in reversed(model.graph.node) if n.op_type == "Div")
            node.op_type, node.input[:] = "Identity", node.input[:1]
            return
        held = {t.name: t for t in model.graph.initializer}
        tensor = next(
            t for t in held.values() if (len(t.dims) == 2 if fault == "weight" else _is(t, 0.15) or _is(t, -0.5))
        )
        value = numpy_helper.to_array(tensor) * np.float32(1.05)
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))

    assert nk.verify(planted(artifact, tmp_path, plant), record=False).verdict == "failed"


def _is(tensor, value):
    array = numpy_helper.to_array(tensor)
    return array.size == 1 and np.isclose(float(array.reshape(-1)[0]), value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_place_of_the_largest_may_be_that_of_one_as_near(dtype):
    """Two classes with as many votes: their means are the same number, or not, as they are added up."""
    x = torch.tensor([[0.1, 0.6, 0.6, 0.2], [0.1, 0.6, 0.59, 0.2], [0.6, 0.0, 0.0, 0.6]])
    votes = (x.unsqueeze(-1) * torch.tensor([1.0, 1 / 3])).to(dtype)

    for function, off in (
        (lambda v: v.sum(-1).argmax(1), [1, 0, 3]),
        (lambda v: (-v.sum(-1)).argmin(-1, True), [[1], [0], [3]]),
        (lambda v: v.sum(-1).argmax(), 10.0),  # of all twelve: from the second to the last
    ):
        assert bound(function, votes).round().tolist() == off


def test_a_negative_has_the_bound_of_what_it_is_of():
    """It was below 0, and so was that of a sum with it."""
    x = torch.rand(5, 4)
    positive, negative = (bound(lambda v, sign=sign: sign(torch.exp(v) * 0.1), x) for sign in (torch.clone, torch.neg))
    assert torch.equal(negative, positive)
    assert positive.min() > 0
