"""Membranes that are read are no work; what goes on from them is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.hw_sim.trace import trace

STEPS = 4


class Read(nn.Module):
    """A hidden layer whose membranes are handed out, or lead into another layer."""

    def __init__(self, onward: bool) -> None:
        super().__init__()
        snntorch = pytest.importorskip("snntorch")
        torch.manual_seed(0)
        self.fc1, self.lif, self.fc2 = nn.Linear(6, 5), snntorch.Leaky(beta=0.8, threshold=0.3), nn.Linear(5, 2)
        self.onward = onward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mem, read = self.lif.init_leaky(), []
        for t in range(x.shape[0]):
            _, mem = self.lif(self.fc1(x[t]), mem)
            read.append(self.fc2(mem) if self.onward else mem)
        return torch.stack(read)


@pytest.mark.parametrize("onward", [False, True])
def test_a_membrane_that_is_read_is_no_work_and_one_that_leads_on_is_named(onward: bool) -> None:
    x = torch.rand(STEPS, 1, 6, generator=torch.Generator().manual_seed(1))
    net = Read(onward)
    spec = nk.ModelSpec("net", lambda: net, (nk.TensorSpec("x", (6,)),), time_steps=STEPS, time_input="sequence")
    load = trace(capture(spec), x)
    assert load.totals()["graded_events"] >= 5 * int((x != 0).sum())
    assert bool(load.network.uncounted) == onward
