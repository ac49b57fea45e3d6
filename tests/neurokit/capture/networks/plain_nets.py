"""Spiking networks without a library: surrogate functions and membranes written by hand."""

import torch
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


class Spike(torch.autograd.Function):
    """A step with the gradient of a fast sigmoid, as SpyTorch has it."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad / (10 * v.abs() + 1) ** 2


class Hand(nn.Module):
    """A membrane and a synaptic current as plain tensors, spikes and membranes recorded."""

    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(10, 12)), nn.Parameter(torch.randn(12, 3))

    def forward(self, x):
        h = torch.einsum("tbi,ij->tbj", x, self.w1)
        syn, mem = torch.zeros_like(h[0]), torch.zeros_like(h[0])
        mems, spikes = [], []
        for t in range(x.shape[0]):
            out = Spike.apply(mem - 1.0)
            syn, mem = 0.8 * syn + h[t], (0.9 * mem + syn) * (1.0 - out.detach())
            mems.append(mem)
            spikes.append(out)
        readout, found = torch.zeros(x.shape[1], 3, dtype=x.dtype), []
        for t in range(x.shape[0]):
            readout = 0.9 * readout + spikes[t] @ self.w2
            found.append(readout)
        return torch.stack(found), torch.stack(spikes), torch.stack(mems)


@network((10,), 7)
def plain_spytorch():
    seeded()
    return Hand().eval()


class Reset(nn.Module):
    """LIF by hand over a sequence, soft reset, the sum of spikes."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.decay = nn.Linear(10, 12), nn.Linear(12, 3), nn.Parameter(torch.tensor(0.4))

    def forward(self, x):
        v, total = 0.0, 0.0
        for x_t in x:
            v = torch.sigmoid(self.decay) * v + self.a(x_t)
            s = Spike.apply(v - 0.5)
            v = v - 0.5 * s
            total = total + self.b(s)
        return total


@network((10,), 6)
def plain_soft_reset_sum():
    seeded()
    return boosted(Reset())


class Recurrent(nn.Module):
    """Spikes fed back, an adaptive threshold."""

    def __init__(self):
        super().__init__()
        self.i, self.r, self.o = nn.Linear(10, 12), nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, x):
        v = s = a = torch.zeros(x.shape[1], 12, dtype=x.dtype)
        found = []
        for t in range(x.size(0)):
            v = 0.8 * v * (1 - s) + self.i(x[t]) + self.r(s)
            a = 0.9 * a + 0.3 * s
            s = Spike.apply(v - 0.5 - a)
            found.append(self.o(s))
        return torch.stack(found).mean(0)


@network((10,), 6)
def plain_recurrent_adaptive():
    seeded()
    return boosted(Recurrent(), 2.0)


class Image(nn.Module):
    """An image repeated inside, as in direct encoding."""

    def __init__(self):
        super().__init__()
        self.c, self.f, self.steps = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 5), 4

    def forward(self, x):
        v = u = 0.0
        current, total = self.c(x), 0.0
        for _ in range(self.steps):
            v = 0.5 * v + current
            s = Spike.apply(v - 0.5)
            v = v * (1 - s)
            u = u + self.f(s.flatten(1))
            total = total + u
        return total / self.steps


@network((1, 8, 8), None)
def plain_direct_encoding():
    seeded()
    return boosted(Image())


class Cell(nn.Module):
    """A cell of one's own with its state as an argument."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.fc = nn.Linear(n_in, n_out)

    def forward(self, x, state=None):
        v = torch.zeros(x.shape[0], self.fc.out_features, dtype=x.dtype) if state is None else state
        v = 0.7 * v + self.fc(x)
        s = (v >= 0.6).to(x.dtype)
        return s, v - 0.6 * s


class OfCells(nn.Module):
    """A loop over such cells; a dictionary comes out."""

    def __init__(self):
        super().__init__()
        self.a, self.b = Cell(10, 12), Cell(12, 4)

    def forward(self, x):
        sa = sb = None
        out, last = [], None
        for x_t in x:
            s, sa = self.a(x_t, sa)
            last, sb = self.b(s, sb)
            out.append(last)
        return {"spikes": torch.stack(out), "membrane": sb}


@network((10,), 6)
def plain_cells_dictionary():
    seeded()
    return boosted(OfCells())
