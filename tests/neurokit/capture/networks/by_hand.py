"""Neurons by hand that keep their membrane in an attribute between calls."""

from typing import NamedTuple

import torch
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


class Lif(nn.Module):
    """The usual home-made LIF; `check` makes its state anew where the batch changes."""

    def __init__(self, check=False, start=None):
        super().__init__()
        self.mem, self.check, self.spikes = start, check, None

    def forward(self, x):
        if self.mem is None or (self.check and self.mem.shape != x.shape):
            self.mem = torch.zeros_like(x)
        self.mem = 0.5 * self.mem + x
        s = (self.mem >= 1).to(x.dtype)
        self.mem = self.mem * (1 - s)
        self.spikes = s  # for a record
        return s


@network((10,), 6, by="step")
def by_hand_attribute():
    seeded()
    return boosted(nn.Sequential(nn.Linear(10, 12), Lif(), nn.Linear(12, 4)))


@network((10,), 6, by="step")
def by_hand_attribute_checked():
    seeded()
    layers = nn.Linear(10, 12), Lif(check=True), nn.Linear(12, 4), Lif(start=0.0), nn.Linear(4, 3)
    return boosted(nn.Sequential(*layers), 6.0)  # with less, the second layer is silent


class Synapse(nn.Module):
    """A current and a membrane, beside a layer of its own."""

    def __init__(self):
        super().__init__()
        self.fc, self.syn, self.v = nn.Linear(10, 8), 0.0, 0.0

    def forward(self, x):
        self.syn = 0.8 * self.syn + self.fc(x)
        self.v = 0.9 * self.v + self.syn
        s = (self.v > 1.0).to(x.dtype)
        self.v = self.v - s
        return s


@network((10,), 6, by="step")
def by_hand_synapse():
    seeded()
    return boosted(nn.Sequential(Synapse(), nn.Linear(8, 3)))


class Readout(nn.Module):
    """A whole network with its readout in an attribute."""

    def __init__(self):
        super().__init__()
        self.fc, self.out, self.mem = nn.Linear(10, 12), nn.Linear(12, 4), 0.0

    def forward(self, x):
        self.mem = 0.8 * self.mem + self.out(torch.relu(self.fc(x)))
        return self.mem


@network((10,), 6, by="step")
def by_hand_readout():
    seeded()
    return boosted(Readout())


class Listed(nn.Module):
    """Membranes in a list, spikes of the last step in a dict that is empty before the first call."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(10, 12), nn.Linear(12, 4)])
        self.membranes, self.last = [None, None], {}

    def forward(self, x):
        for place, layer in enumerate(self.layers):
            current = layer(x) - 0.3 * self.last.get(place, torch.zeros(x.shape[0], 1, dtype=x.dtype))
            if self.membranes[place] is None:
                self.membranes[place] = torch.zeros_like(current)
            self.membranes[place] = 0.8 * self.membranes[place] + current
            x = self.last[place] = (self.membranes[place] > 1.0).to(current.dtype)
            self.membranes[place] = self.membranes[place] - x
        return x + 0.1 * self.membranes[-1]


@network((10,), 6, by="step")
def by_hand_lists_and_dicts():
    seeded()
    return boosted(Listed())


class State(NamedTuple):
    v: torch.Tensor
    z: torch.Tensor
    i: torch.Tensor


class Handed(nn.Module):
    """A recurrent cell that takes its state as an argument and returns it."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.fc, self.recurrent, self.out = nn.Linear(10, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 3)

    def forward(self, x, state=None):
        if state is None:
            zeros = torch.zeros(x.shape[0], 12, dtype=x.dtype)
            state = self.kind(v=zeros, z=zeros, i=zeros)
        v, z, i = state.values() if isinstance(state, dict) else state
        i = 0.7 * i + self.fc(x) + self.recurrent(z)
        v = 0.9 * v * (1 - z) + i
        z = (v > 1).to(v.dtype)
        return self.out(z), self.kind(v=v, z=z, i=i)


@network((10,), 6, by="state")
def by_hand_named_tuple_handed_on():
    seeded()
    return boosted(Handed(State))


@network((10,), 6, by="state")
def by_hand_dict_handed_on():
    seeded()
    return boosted(Handed(dict))
