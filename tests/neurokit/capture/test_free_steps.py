"""Loops over any number of steps: what ONNX Runtime gives at two of them, against the library in double."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.loading import spec_of_module
from tests.neurokit.capture.networks.registry import Network, boosted, eager, seeded
from tests.neurokit.capture.test_networks import onnx_outputs

norse = pytest.importorskip("norse.torch")
snntorch = pytest.importorskip("snntorch")


class Cells(nn.Module):
    """Cells of norse from the state None, whose batch is expanded in every step."""

    def __init__(self, kind):
        super().__init__()
        fires = norse.LIFParameters(v_th=torch.tensor(0.2))
        kinds = {
            "cell": lambda: norse.LIFCell(p=fires),
            "recurrent cell": lambda: norse.LIFRecurrentCell(12, 12, p=fires),
            "adaptive cell": norse.LSNNCell,  # it fires on the current of the step before
            "adaptive recurrent cell": lambda: norse.LSNNRecurrentCell(12, 12),  # it is fed what fired a step earlier
        }
        self.fc, self.cell, self.out, self.li = nn.Linear(10, 12), kinds[kind](), nn.Linear(12, 4), norse.LICell()

    def forward(self, x):
        state = leak = None
        found = []
        for q in x:
            z, state = self.cell(self.fc(q), state)
            v, leak = self.li(self.out(z), leak)
            found.append(v)
        return torch.stack(found)


def lifted():
    """A bare sequence of norse over time, its layers lifted."""
    fires = norse.LIFParameters(v_th=torch.tensor(0.2))
    parts = norse.Lift(nn.Linear(10, 12)), norse.LIF(p=fires), norse.Lift(nn.Linear(12, 4)), norse.LI()
    return norse.SequentialState(*parts)


class Differences(nn.Module):
    """What changed since the step before, from zeros, from the first input itself or only from the second step on."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.fc, self.lif, self.out = kind, nn.Linear(10, 12), neuron.LIFNode(), nn.Linear(12, 4)

    def forward(self, x):
        functional.reset_net(self)
        before = {"zeros": torch.zeros_like(x[0]), "first": x[0], "later": None, "places": None}[self.kind]
        found = []
        for t, q in enumerate(x):
            if self.kind == "places" and t:
                before = x[t - 1]
            found.append(self.out(self.lif(self.fc(q if before is None else q - before))))
            before = q
        return torch.stack(found)


class FirstSpikes(nn.Module):
    """The time of the first spike of each class, T where there is none."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out, self.last = nn.Linear(10, 12), neuron.LIFNode(), nn.Linear(12, 5), neuron.IFNode()

    def forward(self, x):
        functional.reset_net(self)
        y = torch.stack([self.last(self.out(self.lif(self.fc(q)))) for q in x])
        when = torch.arange(len(y), dtype=y.dtype).view(-1, 1, 1)
        return torch.where(y > 0, when, torch.full_like(when, float(len(y)))).amin(0)


class BatchFirst(nn.Module):
    """`[B, T, ...]` in a loop over `x[:, t]`, with states by hand or a neuron whose leak is learnt."""

    def __init__(self, by_hand):
        super().__init__()
        self.fc, self.out, self.lif = (
            nn.Linear(10, 12),
            nn.Linear(12, 4),
            None if by_hand else neuron.ParametricLIFNode(),
        )

    def forward(self, x):
        functional.reset_net(self)
        v, found = torch.zeros(x.shape[0], 12, dtype=x.dtype), []
        for t in range(x.shape[1]):
            if self.lif is None:
                v = 0.9 * v + self.fc(x[:, t])
                z = (v > 1.0).to(x.dtype)
                v = v - z
            else:
                z = self.lif(self.fc(x[:, t]))
            found.append(self.out(z))
        return torch.stack(found, 1)


class Dropped(nn.Module):
    """Dropout in the loop, which is nothing in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.drop, self.out = nn.Linear(10, 12), neuron.LIFNode(), nn.Dropout(), nn.Linear(12, 4)

    def forward(self, x):
        functional.reset_net(self)
        return sum(self.out(self.drop(self.lif(self.fc(q)))) for q in x) / x.shape[0]


class Turned(nn.Module):
    """A network of `[B, T, ...]` over `[T, B, ...]`."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.transpose(0, 1)).transpose(0, 1)


class Heads(nn.Module):
    """A spiking LSTM of snnTorch, which starts anew where its input is of another size than its state; two heads."""

    def __init__(self, width):
        super().__init__()
        self.fc, self.lstm = nn.Linear(10, width), snntorch.SLSTM(width, 12, threshold=0.05)
        self.out, self.read = nn.Linear(12, 4), nn.Linear(12, 2)

    def forward(self, x):
        syn, mem = self.lstm.init_slstm()
        found = []
        for q in x:
            spikes, syn, mem = self.lstm(self.fc(q), syn, mem)
            found.append(torch.cat((self.out(spikes), self.read(mem)), -1))
        return torch.stack(found)


class Alike(nn.Module):
    """Values that begin as one tensor, by `u = v = a`, or as what every step reads; weights that are scaled by step.

    And a membrane that is a sum alone, which is compared at every step.
    """

    def __init__(self, kind):
        super().__init__()
        self.kind, self.fc, self.out = kind, nn.Linear(10, 12), nn.Linear(12, 4)
        self.scales = nn.Parameter(torch.linspace(0.5, 1.5, 20))

    def forward(self, x):
        u = v = a = rest = torch.full((x.shape[1], 12), 0.0 if self.kind == "chained" else -0.1, dtype=x.dtype)
        found, total = [], torch.zeros(x.shape[1], 4, dtype=x.dtype)
        for t in range(x.shape[0]):
            weight = self.fc.weight * self.scales[t] if self.kind == "scaled" else self.fc.weight
            current = torch.nn.functional.linear(x[t], weight, self.fc.bias)
            if self.kind == "chained":
                u = 0.6 * u + current
                v = 0.8 * v + u - a
                z = (v > 1.0).to(x.dtype)
                a = 0.9 * a + z
                v = v * (1 - z)
            else:
                v = rest + 0.8 * (v - rest) + current
                z = (v > 1.0).to(x.dtype)
                v = torch.where(z > 0, rest, v)
            total = total + self.out(z)
            found.append((total > 0.5).to(x.dtype) if self.kind == "summed" else self.out(z))
        return torch.stack(found)


NETS = {
    "cell": lambda: boosted(Cells("cell"), 6.0),
    "recurrent cell": lambda: boosted(Cells("recurrent cell"), 6.0),
    "adaptive cell": lambda: boosted(Cells("adaptive cell"), 6.0),
    "adaptive recurrent cell": lambda: boosted(Cells("adaptive recurrent cell"), 20.0),
    "lifted": lambda: boosted(lifted(), 6.0),
    **{kind: lambda kind=kind: boosted(Differences(kind), 5.0) for kind in ("zeros", "first", "later", "places")},
    "first spikes": lambda: boosted(FirstSpikes(), 6.0),
    "batch first by hand": lambda: boosted(BatchFirst(True), 6.0),
    "batch first": lambda: boosted(BatchFirst(False), 6.0),
    "dropped": lambda: boosted(Dropped(), 6.0),
    "heads": lambda: boosted(Heads(12), 3.0),
    "heads anew": lambda: boosted(Heads(8), 3.0),
    **{kind: lambda kind=kind: boosted(Alike(kind), 5.0) for kind in ("chained", "rest", "scaled", "summed")},
}
FAST = {"batch first", "dropped", "later", "first spikes", "chained", "scaled", "summed"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in NETS])
def test_over_any_number_of_steps(name):
    def build():
        seeded()
        return NETS[name]()

    turned = (lambda: Turned(build())) if name.startswith("batch first") else build
    entry = Network(name, turned, (10,), 6, single=name.startswith("heads"))
    over_any = nk.capture(spec_of_module(build(), "net", (10,), 6)).retrace(time_steps="dynamic")
    for steps in (2, 9):
        x = torch.rand(steps, 3, 10, generator=torch.Generator().manual_seed(7))
        found, expected = onnx_outputs(over_any, x)[0], eager(entry, x)[0].numpy()
        assert expected.std() > 0 or steps == 2, "a silent network shows nothing"
        np.testing.assert_allclose(found, expected, atol=1e-5)
