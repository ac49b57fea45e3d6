"""Cells of public repositories: masked writes, several answers a step, adaptive thresholds, delays, winners, tokens."""

from typing import NamedTuple

import snntorch
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, neuron
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


class SuperSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        out = torch.zeros_like(x)
        out[x > 0] = 1.0
        return out

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient / (100.0 * x.abs() + 1.0) ** 2


spikes_of = SuperSpike.apply


class SpyTorch(nn.Module):
    """The tutorial's network: resets written where the membrane was above, membranes and spikes recorded."""

    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(10, 12)), nn.Parameter(torch.randn(12, 3))

    def forward(self, inputs):
        h1 = torch.einsum("abc,cd->abd", (inputs, self.w1))
        syn = torch.zeros((inputs.shape[0], 12), dtype=inputs.dtype)
        mem, recorded, spikes = torch.zeros_like(syn), [], []
        for t in range(inputs.shape[1]):
            above = mem - 1.0
            reset = torch.zeros_like(mem)
            fired = above > 0
            reset[fired] = torch.ones_like(mem)[fired]
            recorded.append(mem)
            spikes.append(spikes_of(above))
            mem, syn = 0.9 * mem + syn - reset, 0.8 * syn + h1[:, t]
        h2 = torch.einsum("abc,cd->abd", (torch.stack(spikes, dim=1), self.w2))
        return h2.cumsum(1), torch.stack(recorded, dim=1)


@network((6, 10), None)
def spytorch_masked_reset():
    seeded()
    return SpyTorch().eval()


class MaskedUpdates(nn.Module):
    """Membranes changed in place where a mask holds, which is computed anew on the other side."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(10, 12), nn.Linear(12, 3)

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for x_t in x:
            v = 0.9 * v + self.fc(x_t)
            fired = v > 1.0
            v[v > 1.0] -= 1.0
            below = v < -1.0
            before = v[below]
            v.mul_(0.5)
            v[below] = before * 0.25
            found.append(self.out(fired.to(x.dtype)) + v.sum(1, keepdim=True))
        return torch.stack(found)


@network((10,), 6)
def masked_updates():
    seeded()
    return boosted(MaskedUpdates())


class Traces(NamedTuple):
    P: torch.Tensor
    Q: torch.Tensor
    R: torch.Tensor
    S: torch.Tensor


class TraceCell(nn.Module):
    """DECOLLE's layer: traces in a named tuple of an attribute; spikes and membrane are returned."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.fc, self.state = nn.Linear(inputs, outputs), None

    def forward(self, x):
        if self.state is None:
            zeros = torch.zeros(x.shape[0], self.fc.out_features, dtype=x.dtype)
            self.state = Traces(torch.zeros_like(x), torch.zeros_like(x), zeros, zeros)
        q = 0.85 * self.state.Q + 0.6 * x
        p = 0.9 * self.state.P + 0.4 * q
        r = 0.65 * self.state.R - self.state.S
        u = self.fc(p) + r
        self.state = Traces(p, q, r, spikes_of(u))
        return self.state.S, u


class Decolle(nn.Module):
    """Spikes, local readouts and membranes of every layer, as lists."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([TraceCell(10, 12), TraceCell(12, 8)])
        self.readouts = nn.ModuleList([nn.Linear(12, 3), nn.Linear(8, 3)])

    def forward(self, x):
        spikes, read, membranes = [], [], []
        for layer, readout in zip(self.layers, self.readouts, strict=True):
            x, u = layer(x.detach())
            spikes.append(x)
            membranes.append(u)
            read.append(torch.sigmoid(readout(x)))
        return spikes, read, membranes


@network((10,), 6, by="step")
def decolle_lists():
    seeded()
    return boosted(Decolle())


class Adaptive(NamedTuple):
    v: torch.Tensor
    a: torch.Tensor
    z: torch.Tensor
    r: torch.Tensor


class EProp(nn.Module):
    """Recurrent adaptive neurons with steps of rest, and a leaky readout."""

    def __init__(self):
        super().__init__()
        self.w_in, self.w_rec = nn.Parameter(torch.randn(12, 10)), nn.Parameter(torch.randn(12, 12) * 0.3)
        self.w_out = nn.Linear(12, 3)
        self.register_buffer("diagonal", torch.eye(12))

    def step(self, x, state):
        a = 0.97 * state.a + state.z
        v = 0.9 * state.v + F.linear(x, self.w_in) - 0.6 * state.z
        v = v + F.linear(state.z, self.w_rec * (1 - self.diagonal))
        z = torch.where(state.r > 0, torch.zeros_like(v), spikes_of((v - 0.6 - 0.3 * a) / 0.6))
        return z, Adaptive(v, a, z, torch.clamp(state.r + 2 * z - 1, 0.0, 2.0))

    def forward(self, x):
        zero = torch.zeros(x.shape[1], 12, dtype=x.dtype)
        state, y, found = Adaptive(zero, zero, zero, zero), 0, []
        for x_t in x:
            z, state = self.step(x_t, state)
            y = 0.8 * y + self.w_out(z)
            found.append(y)
        return torch.stack(found)


@network((10,), 7)
def eprop_adaptive():
    seeded()
    return EProp().eval()


class Slayer(nn.Module):
    """SLAYER: a response kernel over time, and a refractory kernel added to the potential behind every spike."""

    def __init__(self, length=5):
        super().__init__()
        self.fc1, self.fc2, self.length = nn.Linear(10, 12, bias=False), nn.Linear(12, 3, bias=False), length
        t = torch.arange(length).float()
        self.register_buffer("response", (t / 2 * torch.exp(1 - t / 2)).flip(0))
        self.register_buffer("refractory", -2.0 * (t / 1.5) * torch.exp(1 - t / 1.5))

    def filtered(self, x):
        rows = F.pad(x.reshape(-1, 1, x.shape[-1]), (self.length - 1, 0))
        return F.conv1d(rows, self.response.view(1, 1, -1)).reshape(x.shape)

    def spikes(self, u):
        u, out = u.clone(), torch.zeros_like(u)
        for t in range(u.shape[-1]):
            fired = (u[..., t] >= 1.0).to(u.dtype)
            out[..., t] = fired
            end = min(u.shape[-1], t + self.length)
            u[..., t:end] += fired.unsqueeze(-1) * self.refractory[: end - t]
        return out

    def forward(self, x):
        h = self.spikes(self.fc1(self.filtered(x).transpose(1, 2)).transpose(1, 2))
        return self.spikes(self.fc2(self.filtered(h).transpose(1, 2)).transpose(1, 2)).sum(-1)


@network((10, 8), None)
def slayer_kernels():
    seeded()
    return boosted(Slayer())


class AxonDelays(nn.Module):
    """A delay a neuron, in whole steps, by reading other places of time; a buffer that is rolled behind it."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(10, 12), nn.Linear(12, 3)
        self.register_buffer("delay", torch.randint(0, 4, (12,)))

    def forward(self, x):
        h = self.fc(x)
        steps = h.shape[0]
        place = torch.arange(steps)[:, None] - self.delay[None]
        late = torch.gather(h, 0, place.clamp(min=0)[:, None].expand(h.shape))
        late = late * (place >= 0).to(h.dtype)[:, None]
        v, buffer, found = torch.zeros_like(late[0]), torch.zeros(2, *late.shape[1:], dtype=x.dtype), []
        for t in range(steps):
            v = v + (late[t] - v) / 1.5
            z = spikes_of(v - 0.5)
            v = v * (1.0 - z)
            found.append(self.out(buffer[-1]))
            buffer = torch.roll(buffer, 1, 0)
            buffer[0] = z
        return torch.stack(found).mean(0)


@network((10,), 7)
def axon_delays():
    seeded()
    return boosted(AxonDelays())


class OneWinner(nn.Module):
    """Diehl and Cook: of those above their threshold the highest fires, and its layer starts over."""

    def __init__(self):
        super().__init__()
        self.fc, self.theta = nn.Linear(10, 12, bias=False), nn.Parameter(torch.rand(12) * 0.2)

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for x_t in x:
            v = 0.9 * v + self.fc(x_t)
            above = v > 1 + self.theta
            highest = torch.argmax(torch.where(above, v, torch.full_like(v, -1e9)), dim=1)
            v = torch.where(above.any(dim=1, keepdim=True), torch.zeros_like(v), v)
            found.append(F.one_hot(highest, 12).bool() & above)
        return torch.stack(found).to(x.dtype).sum(0)


@network((10,), 6)
def one_winner():
    seeded()
    return boosted(OneWinner())


class FirstSpikes(nn.Module):
    """A neuron fires once, which is kept as a truth value that is changed in place; the answer is when."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(10, 12), nn.Linear(12, 4)

    def forward(self, x):
        steps = x.shape[0]
        v = torch.zeros(x.shape[1], 12, dtype=x.dtype)
        fired, read = torch.zeros_like(v, dtype=torch.bool), torch.zeros(x.shape[1], 4, dtype=x.dtype)
        first = torch.full_like(read, float(steps))
        for t in range(steps):
            v = v + self.fc(x[t])
            now = (v > 1.0) & ~fired
            fired |= now
            read = read + self.out(now.to(x.dtype)) * (steps - t) / steps
            first = torch.minimum(first, torch.where(read > 0.5, float(t), float(steps)).to(x.dtype))
        return first, read


@network((10,), 6)
def first_spikes():
    seeded()
    return boosted(FirstSpikes())


class Graded(nn.Module):
    """snnTorch's Alpha, and a Leaky whose spikes have a learnt size a channel."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(10, 12), nn.Linear(12, 6)
        self.alpha = snntorch.Alpha(alpha=0.9, beta=0.8)
        settings = {"threshold": torch.rand(6) * 0.5 + 0.3, "graded_spikes_factor": torch.rand(6)}
        self.leaky = snntorch.Leaky(beta=torch.rand(6), reset_delay=False, **settings)

    def forward(self, x):
        exc, inh, mem = self.alpha.init_alpha()
        mem2, found = self.leaky.init_leaky(), []
        for x_t in x:
            spikes, exc, inh, mem = self.alpha(self.fc1(x_t), exc, inh, mem)
            spikes, mem2 = self.leaky(self.fc2(spikes), mem2)
            found.append(spikes)
        return torch.stack(found).sum(0)


@network((10,), 6)
def snntorch_graded_spikes():
    seeded()
    return boosted(Graded(), 6.0)


class SpikingTokens(nn.Module):
    """SpikeGPT: tokens are time; a decaying mean of values weighted by e to the keys, gated, in front of neurons."""

    def __init__(self, size=12):
        super().__init__()
        self.mix, self.decay = nn.Parameter(torch.rand(1, 1, size)), nn.Parameter(torch.rand(size))
        self.key, self.value, self.gate = (nn.Linear(size, size, bias=False) for _ in range(3))
        self.lif, self.head = neuron.LIFNode(v_threshold=0.5), nn.Linear(size, 5)

    def forward(self, x):
        functional.reset_net(self)
        mixed = x * self.mix + F.pad(x, (0, 0, 1, -1)) * (1 - self.mix)
        k, v, gate = self.key(mixed), self.value(mixed), torch.sigmoid(self.gate(mixed))
        decay = torch.exp(-torch.exp(self.decay))
        above, below, found = torch.zeros_like(k[:, 0]), torch.zeros_like(k[:, 0]) + 1e-3, []
        for t in range(x.shape[1]):
            weight = torch.exp(torch.clamp(k[:, t], max=5.0))
            above, below = decay * above + weight * v[:, t], decay * below + weight
            found.append(self.lif(gate[:, t] * above / below * 4))
        return self.head(torch.stack(found, 1))


@network((6, 12), None)
def spiking_tokens():
    seeded()
    return boosted(SpikingTokens())
