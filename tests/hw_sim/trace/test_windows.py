"""Windows of a picture on the first axis, as in Swin: their layers and products are counted, by hand's numbers."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.hw_sim.estimators._base import dense_macs
from neurokit.hw_sim.trace import trace

SIDE, WINDOW, WIDTH = 4, 2, 6
COUNT, TOKENS = (SIDE // WINDOW) ** 2, WINDOW**2


def windows(x: torch.Tensor) -> torch.Tensor:
    """`[N, H, W, C]` -> `[N * windows, tokens, C]`."""
    n, _, _, width = x.shape
    x = x.view(n, SIDE // WINDOW, WINDOW, SIDE // WINDOW, WINDOW, width)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, TOKENS, width)


class WindowAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.proj = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(windows(self.norm(x))).chunk(3, -1)
        return self.proj((q @ k.transpose(1, 2)).softmax(-1) @ v).sum((0, 1))[None]


class SpikingWindows(nn.Module):
    """`[T, B, H, W, C]`: the spikes of each window go through a linear map."""

    def __init__(self):
        super().__init__()
        self.lif, self.map = neuron.LIFNode(step_mode="m"), nn.Linear(WIDTH, 5, bias=False)
        self.last = neuron.IFNode(step_mode="m")

    def forward(self, x):
        s = self.lif(4 * x)
        y = self.map(windows(s.flatten(0, 1)))
        return self.last(y.unflatten(0, (x.shape[0], -1)))


def test_layers_and_products_of_windows_are_counted():
    torch.manual_seed(0)
    captured = nk.capture(WindowAttention().eval(), torch.zeros(1, SIDE, SIDE, WIDTH))
    workload = trace(captured, torch.randn(1, SIDE, SIDE, WIDTH))
    projections = COUNT * TOKENS * (WIDTH * 3 * WIDTH + WIDTH * WIDTH)
    products = 2 * COUNT * TOKENS * TOKENS * WIDTH
    assert dense_macs(workload) == projections + products
    assert not [one for one in workload.network.uncounted if "linear" in one.reason or "matmul" in one.reason]


def test_spikes_of_windows_cross_as_many_synapses_as_they_have():
    torch.manual_seed(0)
    module = SpikingWindows().eval()
    captured = nk.capture(module, torch.zeros(3, 1, SIDE, SIDE, WIDTH))
    x = torch.rand(3, 1, SIDE, SIDE, WIDTH)
    workload = trace(captured, x)
    with torch.no_grad():
        fired = int(module.lif(4 * x).sum())
    assert 0 < fired < x.numel()
    assert sum(int(counts.synaptic_events.sum()) for counts in workload.counts) == fired * 5
