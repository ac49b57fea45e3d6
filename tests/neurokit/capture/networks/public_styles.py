"""Networks in the styles of public repositories: written masks, encoders, delays, populations, published neurons."""

from collections import deque

import norse.torch as norse
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


def fires(membrane, threshold=1.0):
    return (membrane > threshold).to(membrane.dtype)


class NormEveryStep(nn.Module):
    """One batch normalisation a step (BNTT), and a reset that is written where a mask holds."""

    def __init__(self, steps=5):
        super().__init__()
        self.steps = steps
        self.conv, self.fc = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.Linear(96, 4, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(6) for _ in range(steps)])
        for place, norm in enumerate(self.norms):
            norm.running_var.fill_(0.3 + 0.1 * place)

    def forward(self, x):
        membrane = torch.zeros(x.size(0), 6, 8, 8, dtype=x.dtype)
        out = torch.zeros(x.size(0), 4, dtype=x.dtype)
        for t in range(self.steps):
            membrane = 0.95 * membrane + self.norms[t](self.conv(x))
            above = membrane - 1.0
            reset = torch.zeros_like(membrane)
            reset[above > 0] = 1.0
            membrane = membrane - reset
            out = out + self.fc(F.avg_pool2d(fires(above, 0.0), 2).flatten(1))
        return out / self.steps


@network((2, 8, 8), None)
def bntt():
    seeded()
    return boosted(NormEveryStep())


class IntoPlace(nn.Module):
    """Spikes that are written into a tensor of all steps, from which the next step reads the last (STBP-tdBN)."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm3d(6)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        current = self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        current = self.norm(current.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)
        u, out = torch.zeros_like(current[0]), torch.zeros_like(current)
        for step in range(x.shape[0]):
            u = 0.25 * u * (1 - out[max(step - 1, 0), ...]) + current[step, ...]
            out[step, ...] = fires(u, 0.5)
        return self.fc(out.mean((-2, -1))).mean(0)


@network((2, 8, 8), 4)
def tdbn_into_place():
    seeded()
    return boosted(IntoPlace(), 4.0)


class Latency(nn.Module):
    """The time of a pixel's one spike by one_hot of a computed place."""

    T = 6

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out = nn.Linear(10, 12), neuron.LIFNode(), nn.Linear(12, 3)

    def forward(self, x):
        functional.reset_net(self)
        spikes = F.one_hot(torch.round((self.T - 1.0) * (1.0 - x)).long(), self.T).to(x.dtype).permute(2, 0, 1)
        return sum(self.out(self.lif(self.fc(spikes[t]))) for t in range(self.T))


@network((10,), None)
def latency_by_one_hot():
    seeded()
    return boosted(Latency(), 5.0)


@network((10,), 6)
def norse_sequence_with_its_state():
    """A bare SequentialState over time, which returns its last state beside the answer."""
    seeded()
    p = norse.LIFParameters(v_th=torch.tensor(0.2))
    return boosted(norse.SequentialState(nn.Linear(10, 12), norse.LIFRecurrent(12, 12, p=p), nn.Linear(12, 4)), 6.0)


class Population(nn.Module):
    """A population-coded policy: receptive fields, spikes written step by step, three states a layer, group decoder."""

    def __init__(self, steps=5):
        super().__init__()
        self.steps = steps
        self.means = nn.Parameter(torch.linspace(-3, 3, 4).repeat(3, 1)[None])
        self.hidden, self.out, self.decoder = nn.Linear(12, 16), nn.Linear(16, 8), nn.Conv1d(2, 2, 4, groups=2)

    def cell(self, layer, x, current, volt, spike):
        current = current * 0.5 + layer(x)
        volt = volt * 0.75 * (1.0 - spike) + current
        return current, volt, fires(volt, 0.5)

    def forward(self, x):
        count = x.shape[0]
        acts = torch.exp(-0.5 * (x.view(-1, 3, 1) - self.means).pow(2) / 0.36).view(-1, 12)
        volt, spikes = torch.zeros_like(acts), torch.zeros(count, 12, self.steps, dtype=x.dtype)
        for t in range(self.steps):
            volt = volt + acts
            spikes[:, :, t] = fires(volt, 0.999)
            volt = volt - spikes[:, :, t] * 0.999
        states = [[torch.zeros(count, n, dtype=x.dtype) for _ in range(3)] for n in (16, 8)]
        total = torch.zeros(count, 8, dtype=x.dtype)
        for t in range(self.steps):
            states[0] = self.cell(self.hidden, spikes[:, :, t], *states[0])
            states[1] = self.cell(self.out, states[0][2], *states[1])
            total += states[1][2]
        return torch.tanh(self.decoder((total / self.steps).view(-1, 2, 4)).view(-1, 2))


@network((3,), None)
def population_policy():
    seeded()
    return boosted(Population())


class LearntDelays(nn.Module):
    """Delays as Gaussian kernels over time (DCLS), whose places are parameters."""

    def __init__(self, length=5):
        super().__init__()
        self.length = length
        self.weight, self.place = nn.Parameter(torch.randn(12, 10, 1)), nn.Parameter(torch.rand(12, 10, 1) * 4)
        self.lif, self.out = neuron.LIFNode(step_mode="m", tau=1.5, decay_input=False), nn.Linear(12, 4)

    def forward(self, x):
        grid = torch.arange(self.length, dtype=self.place.dtype)
        kernel = torch.exp(-0.5 * (grid - self.place) ** 2)
        kernel = self.weight * kernel / (kernel.sum(-1, keepdim=True) + 1e-7)
        delayed = F.conv1d(F.pad(x.permute(1, 2, 0), (self.length - 1, 0)), kernel).permute(2, 0, 1)
        return F.softmax(self.out(self.lif(delayed)), dim=2).sum(0)


@network((10,), 6)
def learnt_delays():
    seeded()
    return boosted(LearntDelays())


class Buffered(nn.Module):
    """Spikes that arrive three steps later, through a deque."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out = nn.Linear(10, 12), neuron.LIFNode(), nn.Linear(12, 3)

    def forward(self, x):
        functional.reset_net(self)
        waiting = deque([torch.zeros(x.shape[1], 12, dtype=x.dtype)] * 3, maxlen=3)
        found = []
        for x_t in x:
            late = waiting[0]
            waiting.append(self.lif(self.fc(x_t)))
            found.append(self.out(late + waiting[-1]))
        return torch.stack(found)


@network((10,), 6)
def delay_by_deque():
    seeded()
    return boosted(Buffered())


class Winners(nn.Module):
    """Of the neurons that would fire, the three with the highest membranes do."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(10, 12), nn.Linear(12, 3)

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for x_t in x:
            v = 0.8 * v + self.fc(x_t)
            spikes = fires(v) * torch.zeros_like(v).scatter_(1, v.topk(3, dim=1)[1], 1.0)
            v = v * (1 - spikes)
            found.append(self.out(spikes))
        return torch.stack(found)


@network((10,), 6)
def winners_by_topk():
    seeded()
    return boosted(Winners(), 4.0)


class Gated(nn.Module):
    """GLIF: gates a channel, conductances of every step."""

    def __init__(self, steps=4, channels=6):
        super().__init__()
        self.conv, self.out = layer.SeqToANNContainer(nn.Conv2d(2, channels, 3)), nn.Linear(channels * 36, 4)
        self.gates = nn.ParameterList([nn.Parameter(torch.randn(channels)) for _ in range(5)])
        self.conduct = nn.Parameter(torch.rand(steps, channels))

    def forward(self, x):
        current = self.conv(x)
        alpha, beta, gamma, leak, reset = (gate.sigmoid()[None, :, None, None] for gate in self.gates)
        u, o, found = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
        for t in range(x.shape[0]):
            given = current[t] * (1 - beta * (1 - self.conduct[t].sigmoid()[None, :, None, None]))
            u = (1 - alpha * (1 - leak)) * u * (1 - gamma * o) - (1 - gamma) * reset * o + given
            o = fires(u, 0.5)
            found.append(o)
        return self.out(torch.stack(found).flatten(2)).mean(0)


@network((2, 8, 8), 4)
def gated_lif():
    seeded()
    return boosted(Gated())


class Dendrites(nn.Module):
    """DH-SNN: dendritic branches with time constants of their own; states in attributes that forward makes anew."""

    def __init__(self, branches=3, size=12):
        super().__init__()
        self.size, self.branches = size, branches
        self.dense, self.out = nn.Linear(10, size * branches), nn.Linear(size, 3)
        self.tau_branch, self.tau = nn.Parameter(torch.randn(size, branches)), nn.Parameter(torch.randn(size))
        self.register_buffer("mask", (torch.rand(size * branches, 10) < 0.5).float())

    def forward(self, x):
        count = x.shape[0]
        self.membrane = torch.rand(count, self.size, dtype=x.dtype).zero_()
        self.spike = torch.zeros(count, self.size, dtype=x.dtype)
        self.branch = torch.zeros(count, self.size, self.branches, dtype=x.dtype)
        total = torch.zeros(count, 3, dtype=x.dtype)
        beta, alpha = self.tau_branch.sigmoid(), self.tau.sigmoid()
        for i in range(x.shape[1]):
            given = F.linear(x[:, i], self.dense.weight * self.mask, self.dense.bias)
            self.branch = beta * self.branch + (1 - beta) * given.reshape(-1, self.size, self.branches)
            self.membrane = self.membrane * alpha + (1 - alpha) * self.branch.sum(2) - self.spike
            self.spike = fires(self.membrane)
            if i > 1:
                total += F.softmax(self.out(self.spike), dim=1)
        return total


@network((6, 10), None)
def dendritic_branches():
    seeded()
    return boosted(Dendrites(), 6.0)


class Refractory(nn.Module):
    """Whole numbers as state: steps of rest that are left, and spikes so far."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(10, 12), nn.Linear(12, 3)

    def forward(self, x):
        v = torch.zeros(x.shape[1], 12, dtype=x.dtype)
        rest, count = torch.zeros(v.shape, dtype=torch.int64), torch.zeros(v.shape, dtype=torch.int32)
        for x_t in x:
            awake = rest == 0
            v = torch.where(awake, 0.9 * v + self.fc(x_t), v)
            spikes = (v >= 1) & awake
            rest = torch.where(spikes, torch.full_like(rest, 2), (rest - 1).clamp(min=0))
            v = v.masked_fill(spikes, 0.0)
            count += spikes.int()
        return count, self.out(count.to(x.dtype))


@network((10,), 6)
def refractory_counts():
    seeded()
    return boosted(Refractory(), 4.0)


class SomeSteps(nn.Module):
    """Looks at some of the steps alone: a loop that ends early, or leaves steps out, at constant places."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.fc, self.lif, self.out = nn.Linear(10, 12), neuron.IFNode(), nn.Linear(12, 3)

    def forward(self, x):
        functional.reset_net(self)
        y = 0.0
        for step, x_t in enumerate(x):
            if self.how == "every other" and step % 2:
                continue
            if self.how == "not the first" and step < 2:
                continue
            y = y + self.out(self.lif(self.fc(x_t)))
            if self.how == "until the fourth" and step == 3:
                break
            if self.how == "until it fires" and y.max() > 1:
                break
        return y / (step + 1)


def some_steps(how):
    seeded()
    return boosted(SomeSteps(how))


for _how in ("every other", "not the first", "until the fourth"):
    network((10,), 6, name=f"steps_{_how.replace(' ', '_')}")(lambda how=_how: some_steps(how))
