"""Limits: bounds that add up along shortcuts must not cost the grids that spikes hang on."""

import importlib

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture.reference import record
from neurokit.exact import limits
from neurokit.exact.rewrite import Rounding
from neurokit.models.common.untrained import build_untrained

planning = importlib.import_module("neurokit.exact.plan")
STEPS, BLOCKS, CHANNELS = 4, 10, 24


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fire = neuron.LIFNode(tau=2.0)
        self.conv = layer.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.bn = layer.BatchNorm2d(CHANNELS)

    def forward(self, x):
        return x + self.bn(self.conv(self.fire(x)))


class Stream(nn.Module):
    """A membrane stream with many branches; every neuron reads the sum of all before it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(layer.Conv2d(2, CHANNELS, 3, padding=1, bias=False), layer.BatchNorm2d(CHANNELS))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.fire, self.fc = neuron.LIFNode(tau=2.0), layer.Linear(CHANNELS, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.fc(self.fire(self.blocks(self.stem(x))).mean((-2, -1))).mean(0)


@pytest.fixture(scope="module")
def stream():
    x = torch.rand(STEPS, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    net = build_untrained(Stream, x, 1.5)
    for block in net.blocks[: BLOCKS // 2]:  # bounds far above anything seen: large weights that cancel
        nn.init.constant_(block.bn.weight, 20.0)
    return nk.capture(net, x), x


def rates(captured, x):
    records = record(captured.program.module(), (x, *captured.initial_states(x.shape[1])))[1]
    return torch.tensor([float(entry.spikes.mean()) for entry in records])


def test_currents_are_limited_before_their_grid_is_coarsened(stream, monkeypatch):
    captured, x = stream
    made = nk.exact(captured, x)
    assert made.proof.status == "exact"
    limited = {index: r for index, r in made.plan.currents.items() if r.high is not None}
    assert limited
    found, wanted = rates(made.captured, x), rates(captured, x)
    assert float((found - wanted).abs().max()) < 0.05
    assert float(wanted.min()) > 0.02
    currents = record(captured.program.module(), (x, *captured.initial_states(2)))[1]
    for index, rounding in limited.items():  # what calibration saw stays clear of every limit
        assert float(currents[index].current.abs().max()) < rounding.high
    monkeypatch.setattr(limits, "of_current", lambda finding, seen: (None, 0.0))
    coarse = nk.exact(captured, x)
    both = made.plan.currents.keys() & coarse.plan.currents.keys()
    finer = sum(coarse.plan.currents[i].exponent - made.plan.currents[i].exponent for i in both)
    assert finer > 0 or coarse.proof.status == "elementwise"


def test_what_a_rounding_loses_is_told():
    said = limits.lost({0: Rounding(6), 1: Rounding(-6)}, ["a", "b"], {0: 7.0, 1: 7.0})
    assert said == ["a: rounded to 2**6, coarse for values of at most 7"]
    assert limits.lost({0: Rounding(3)}, ["a"], {}) == []
    assert limits.lost({0: Rounding(-2)}, ["a"], {0: 8.0}) == []
    assert len(limits.lost({0: Rounding(-1)}, ["a"], {0: 8.0})) == 1


def test_sums_that_would_lose_their_terms_are_limited():
    from neurokit.exact.bounds import Finding
    from neurokit.exact.observe import Calibration, Observed

    seen = Calibration({0: Observed(result=5.0), 1: Observed(result=5.0)})
    sources = frozenset({0, 1})
    fine = Finding("add", None, "sum", 20.0, sources=sources, floor=-8.0)
    coarse = Finding("add", None, "sum", 20.0, sources=sources, floor=-3.0)
    largest = {0: 1000.0, 1: 6.0}
    assert limits.of_coarse_sums(largest, [fine], seen, {}) == {}
    found = limits.of_coarse_sums(largest, [coarse], seen, {})
    assert found == {0: 32.0}  # at least four times what was seen, a power of two; the other bound is below it
    assert limits.of_coarse_sums(largest, [coarse], seen, found) == {}
    assert limits.of_shortcuts({0: 16 * 32.0 + 1}, [], seen, {}) == {0: 32.0}
    assert limits.of_shortcuts({0: 16 * 32.0}, [], seen, {}) == {}
