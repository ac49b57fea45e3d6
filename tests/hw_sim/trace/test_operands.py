"""Operands of products that hold constants: their products are counted, by hand's numbers, and nothing is listed."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.hw_sim.engine.dyadic import integer_network
from neurokit.hw_sim.estimators._base import dense_macs
from neurokit.hw_sim.trace import trace

STEPS, TOKENS, WIDTH = 3, 5, 4


class Attention(nn.Module):
    """Linear attention without softmax: both operands of the first product have their layer's bias."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=at < 2) for at in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.q(x) @ (self.k(x).transpose(1, 2) @ self.v(x))


class Spiking(nn.Module):
    """`[T, B, N, D]`: products of spikes with what constants were added to, in each of the ways that there are."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.a, self.b, self.c = (neuron.IFNode(v_threshold=v, step_mode="m") for v in (0.4, 0.6, 0.9))
        self.out = neuron.IFNode(step_mode="m")
        self.row = nn.Buffer(torch.tensor([1.0, 0.0, 0.0, 1.0]))

    def operands(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b, c = self.a(x), self.b(x), self.c(x)
        if self.how == "constant":
            return a, b - self.row
        if self.how == "sum and constant":
            return a, b + c - self.row
        if self.how == "padded":  # a row of zeros before the tokens
            return a, nn.functional.pad(b[:, :, 1:], (0, 0, 1, 0))
        return a, torch.cat([self.row.expand(*b.shape[:2], 1, WIDTH), b[:, :, 1:]], 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.operands(x)
        return self.out(left @ right.transpose(-1, -2))


def test_biases_of_queries_and_keys_leave_nothing_uncounted():
    torch.manual_seed(0)
    x = torch.randn(1, TOKENS, WIDTH)
    workload = trace(nk.capture(Attention().eval(), x), x)
    assert workload.network.uncounted == ()
    assert dense_macs(workload) == 3 * TOKENS * WIDTH * WIDTH + 2 * TOKENS * WIDTH * WIDTH


@pytest.mark.parametrize("how", ["constant", "sum and constant", "padded", "joined"])
def test_products_with_constants_in_an_operand_are_counted_pair_by_pair(how):
    module, x = Spiking(how).eval(), torch.rand(STEPS, 1, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))
    workload = trace(nk.capture(module, x), x)
    with torch.no_grad():
        left, right = ((value != 0)[:, 0].long() for value in module.operands(x))
    pairs = sum(
        int(left[t, i, k] * right[t, j, k])
        for t in range(STEPS)
        for i in range(TOKENS)
        for j in range(TOKENS)
        for k in range(WIDTH)
    )
    assert workload.network.uncounted == ()
    assert workload.totals()["product_operations"] == pairs > 20


def test_the_event_engine_does_not_compute_what_was_recorded():
    x = torch.rand(STEPS, 1, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    network = trace(nk.capture(Spiking("constant").eval(), x), x).network
    with pytest.raises(UnsupportedError, match="recorded"):
        integer_network(network, STEPS, {"x": x[:, 0].numpy()})
