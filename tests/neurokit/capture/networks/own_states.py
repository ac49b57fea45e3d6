"""Networks whose states are their authors' own: memories and attributes that hold nothing at first, counters, rests."""

import snntorch as snn
import torch
from spikingjelly.activation_based import base, functional, neuron
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


class Refractory(base.MemoryModule):
    """Two memories that are None until the first step, one of steps that are left to rest."""

    def __init__(self, period=2):
        super().__init__()
        self.period, self.step_mode = period, "s"
        self.register_memory("v", None)
        self.register_memory("left", None)

    def single_step_forward(self, x):
        if self.v is None:
            self.v, self.left = torch.zeros_like(x), torch.zeros_like(x)
        self.v = 0.9 * self.v + x * (self.left <= 0)
        spike = (self.v >= 1.0).to(x)
        self.left = (self.left - 1).clamp_min(0) + spike * self.period
        self.v = self.v * (1 - spike)
        return spike


class Resting(base.MemoryModule):
    """A membrane that begins at its rest, and a threshold of which only the first value is a constant."""

    def __init__(self):
        super().__init__()
        self.step_mode = "s"
        self.register_memory("v", None)
        self.register_memory("level", None)

    def single_step_forward(self, x):
        if self.v is None:
            self.v = torch.full_like(x, -0.5)
        level = torch.ones_like(x) if self.level is None else self.level
        self.v = self.v + 0.3 * (-0.5 - self.v) + x
        spike = (self.v >= level).to(x)
        self.v = torch.where(spike > 0, torch.full_like(x, -0.5), self.v)
        self.level = 1.0 + 0.9 * (level - 1.0) + 0.4 * spike
        return spike


class Adaptive(neuron.BaseNode):
    """A base of SpikingJelly's whose one step is written out, with the names of its protocol and other arguments."""

    def __init__(self):
        super().__init__(v_threshold=1.0, v_reset=None)
        self.register_memory("a", 0.0)

    def neuronal_charge(self, x):
        self.v = self.v + (x - self.v) / 2.0

    def neuronal_adaptation(self, spike):
        self.a = self.a * 0.8 + spike

    def neuronal_fire(self):
        return self.surrogate_function(self.v - self.v_threshold - 0.3 * self.a)

    def neuronal_reset(self, spike):
        self.v = self.v - spike * self.v_threshold

    def single_step_forward(self, x):
        if isinstance(self.v, float):
            self.v = torch.full_like(x, self.v)
        if isinstance(self.a, float):
            self.a = torch.full_like(x, self.a)
        self.neuronal_charge(x)
        spike = self.neuronal_fire()
        self.neuronal_reset(spike)
        self.neuronal_adaptation(spike)
        return spike


class OneCall(nn.Module):
    """One step a call of a neuron between two layers."""

    def __init__(self, node):
        super().__init__()
        self.fc, self.node, self.out = nn.Linear(10, 12), node, nn.Linear(12, 3)

    def forward(self, x):
        return self.out(self.node(self.fc(x)))


@network((10,), 7, by="step")
def own_refractory():
    seeded()
    return boosted(OneCall(Refractory()), 6.0)


@network((10,), 7, by="step")
def own_resting():
    seeded()
    return boosted(OneCall(Resting()), 6.0)


@network((10,), 7, by="step")
def own_adaptive():
    seeded()
    return boosted(OneCall(Adaptive()), 6.0)


class Izhikevich(nn.Module):
    """Attributes that are None before the first step, and begin at -65 and -13 in it."""

    def __init__(self):
        super().__init__()
        self.fc, self.out, self.v, self.u = nn.Linear(10, 12), nn.Linear(12, 3), None, None

    def forward(self, x):
        current = 10 * self.fc(x)
        if self.v is None:
            self.v = torch.full_like(current, -65.0)
            self.u = 0.2 * self.v
        self.v = self.v + 0.5 * (0.04 * self.v**2 + 5 * self.v + 140 - self.u + current)
        self.u = self.u + 0.02 * (0.2 * self.v - self.u)
        spike = (self.v >= 30).to(x)
        self.v, self.u = self.v * (1 - spike) - 65.0 * spike, self.u + 8.0 * spike
        return self.out(spike)

    def reset(self):
        self.v, self.u = None, None


@network((10,), 20, by="step")
def izhikevich_by_hand():
    seeded()
    return boosted(Izhikevich(), 6.0)


class ReadOut(nn.Module):
    """Beside a neuron: a readout that begins at one half, a counter, and a trace whose buffer grows."""

    def __init__(self):
        super().__init__()
        self.fc, self.node, self.out = nn.Linear(10, 12), neuron.LIFNode(), nn.Linear(12, 3)
        self.register_buffer("trace", torch.zeros(1))
        self.mem, self.count = None, 0

    def forward(self, x):
        spike = self.node(self.fc(x))
        h = self.out(spike)
        if self.mem is None:
            self.mem = torch.full_like(h, 0.5)
        self.mem = 0.8 * self.mem + h
        self.count += 1
        self.trace = 0.9 * self.trace + spike.mean(1, keepdim=True)
        return self.mem / self.count + self.trace

    def reset(self):
        self.mem, self.count, self.trace = None, 0, torch.zeros(1)


@network((10,), 6, by="step")
def readout_beside():
    seeded()
    return boosted(ReadOut(), 6.0)


class Changes(nn.Module):
    """What is new in a step, from a buffer of another shape; so quiet that an earlier input moves membranes alone."""

    def __init__(self):
        super().__init__()
        self.fc, self.node, self.out = nn.Linear(10, 12), neuron.LIFNode(), nn.Linear(12, 3)
        self.register_buffer("before", torch.zeros(1))

    def forward(self, x):
        change, self.before = x - self.before, x
        return self.out(self.node(self.fc(change)))

    def reset(self):
        self.before = torch.zeros(1)


@network((10,), 6, by="step")
def changes_of_a_quiet_network():
    seeded()
    return boosted(Changes(), 5.0)


class TwoReadOuts(nn.Module):
    """A leaky readout, and the largest membrane so far, of single-step neurons in a loop."""

    def __init__(self):
        super().__init__()
        self.fc, self.node, self.out = nn.Linear(10, 16), neuron.LIFNode(), nn.Linear(16, 5)
        self.readout = neuron.LIFNode(v_threshold=float("inf"))
        self.beta = nn.Parameter(torch.tensor(0.85))

    def forward(self, x):
        functional.reset_net(self)
        leaky = torch.zeros(x.shape[1], 5, dtype=x.dtype)
        best = torch.full_like(leaky, -1e3)
        for x_t in x.unbind(0):
            h = self.out(self.node(self.fc(x_t)))
            self.readout(h)
            leaky, best = self.beta * leaky + h, torch.maximum(best, self.readout.v)
        return leaky, best


@network((10,), 7)
def two_readouts():
    seeded()
    return boosted(TwoReadOuts(), 6.0)


class TakesItsMembrane(nn.Module):
    """snnTorch's neurons in a forward that is handed what it returned: `y, mem = net(x, mem)`."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out = nn.Linear(10, 12), snn.Leaky(beta=0.9), nn.Linear(12, 3)

    def forward(self, x, mem=None):
        if mem is None:
            mem = self.lif.init_leaky()
        spikes, mem = self.lif(self.fc(x), mem)
        return self.out(spikes), mem


@network((10,), 6, by="state")
def snntorch_takes_its_membrane():
    seeded()
    return boosted(TakesItsMembrane())


class TakesItsStates(nn.Module):
    """The same with an argument a state."""

    def __init__(self):
        super().__init__()
        self.fc, self.first = nn.Linear(10, 12), snn.Leaky(beta=0.9, threshold=0.5)
        self.out, self.last = nn.Linear(12, 3), snn.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x, mem1=None, syn2=None, mem2=None):
        if mem1 is None:
            mem1 = self.first.init_leaky()
            syn2, mem2 = self.last.init_synaptic()
        spikes, mem1 = self.first(self.fc(x), mem1)
        spikes, syn2, mem2 = self.last(self.out(spikes), syn2, mem2)
        return spikes, mem1, syn2, mem2


@network((10,), 6, by="states")
def snntorch_takes_its_states():
    seeded()
    return boosted(TakesItsStates())
