"""Limits and roundings inside a network: what the engine computes from the trace equals torch, ties included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from neurokit.capture import capture
from neurokit.hw_sim.engine import Engine
from neurokit.hw_sim.engine.dyadic import integer_network
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Rounding
from neurokit.hw_sim.trace import trace


def dyadic_linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inputs, outputs)
    layer.weight.data = torch.randint(-90, 120, (outputs, inputs), generator=generator) / 256
    layer.bias.data = torch.randint(-40, 60, (outputs,), generator=generator) / 512
    return layer.eval()


class Rounded(nn.Module):
    """Rounds on a grid between a sum and two readers, limits without a rounding, and limits after limits."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            dyadic_linear(*size, seed + i) for i, size in enumerate(((6, 8), (8, 8), (8, 5)))
        )
        make = lambda level: neuron.IFNode(v_threshold=level, step_mode="m")  # noqa: E731
        self.a, self.b, self.c, self.d, self.e = make(0.5), make(0.75), make(0.5), make(1.0), make(0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        shortcut = torch.round(y.clamp(-0.75, 1.5) * 8.0) * 0.125  # weights have 8 bits: ties occur
        z = self.second(self.a(shortcut)) + shortcut
        limited = z.clamp(-0.3125, 1.25)
        one = self.b(limited.clamp_max(0.8125).clamp(-0.25, 2.0) * 2.0)
        two = self.c(torch.round(z * 4.0) / 4.0)  # no limits
        three = self.d(torch.nn.functional.hardtanh(z))
        return self.e(self.third(one + two) + self.third(three) * 0.5 + self.third(limited))


def flips(load: Workload) -> int:
    net, inputs = integer_network(load.network, load.time_steps, load.inputs)
    run = Engine(net, load.time_steps).run(inputs)
    return sum(int((run.rasters[p.name].unpack() != load.rasters[p.name].unpack()).sum()) for p in load.network.neurons)


@pytest.mark.parametrize("seed", range(5))
def test_limits_and_roundings_are_computed_as_in_torch(seed):
    x = torch.randint(0, 3, (6, 1, 6), generator=torch.Generator().manual_seed(seed)).float()
    load = trace(capture(Rounded(10 * seed), x), x)
    assert load.network.uncounted == ()
    found = [p.rounding for p in load.network.populations if p.rounding is not None]
    for wanted in (
        Rounding(-6.0, 12.0),
        Rounding(None, None),
        Rounding(-0.3125, 1.25, whole=False),
        Rounding(-0.5, 1.625, whole=False),
        Rounding(-1.0, 1.0, whole=False),
    ):
        assert wanted in found, wanted
    assert flips(load) == 0
    assert all(0 < load.rasters[p.name].rate < 1 for p in load.network.neurons)


def test_a_rounding_that_is_left_out_is_seen():
    x = torch.randint(0, 3, (6, 1, 6), generator=torch.Generator().manual_seed(0)).float()
    load = trace(capture(Rounded(0), x), x)
    exact = replace(
        load,
        network=replace(load.network, populations=tuple(replace(p, rounding=None) for p in load.network.populations)),
    )
    assert flips(exact) > 0


def test_events_after_a_rounding_are_those_of_what_is_left():
    """A value that is rounded to zero sends no event."""
    net = nn.Sequential(dyadic_linear(4, 6, 0), Coarse(), dyadic_linear(6, 3, 1), neuron.IFNode(step_mode="m"))
    x = torch.rand((3, 1, 4), generator=torch.Generator().manual_seed(0)).mul(16).round() / 32
    load = trace(capture(net.eval(), x), x)
    left = torch.round(net[0](x) * 2.0) != 0
    assert 0 < int(left.sum()) < left.numel()
    graded = sum(int(c.graded_events.sum()) for c in load.counts if c.name == "3")
    assert graded == 3 * int(left.sum())
    wanted = left.reshape(3, -1).sum(1).numpy() * 3
    np.testing.assert_array_equal(load.events(load.network.into("3")[0]), wanted)


class Coarse(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x * 2.0) * 0.5
