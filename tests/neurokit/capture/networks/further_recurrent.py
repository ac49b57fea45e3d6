"""Recurrent networks and neurons by hand in further published styles: adaptive, ternary, delta, liquid, resonating."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


def mem_update_adp(inputs, mem, spike, tau_adp, b, tau_m, adapts=True):
    alpha = torch.exp(-1.0 / tau_m)
    ro = torch.exp(-1.0 / tau_adp)
    beta = 1.8 if adapts else 0.0
    b = ro * b + (1 - ro) * spike
    above = 0.1 + beta * b
    mem = mem * alpha + (1 - alpha) * inputs - above * spike
    spike = (mem - above > 0).to(mem.dtype)
    return mem, spike, above, b


class Srnn(nn.Module):
    def __init__(self, i=10, h=12, o=4):
        super().__init__()
        self.i2h = nn.Linear(i, h)
        self.h2h = nn.Linear(h, h)
        self.h2o = nn.Linear(h, o)
        self.tm = nn.Parameter(torch.rand(h) * 10 + 5)
        self.ta = nn.Parameter(torch.rand(h) * 50 + 50)
        self.tout = nn.Parameter(torch.rand(o) * 10 + 5)
        self.b_h = 0.0

    def forward(self, inp):
        batch, steps, _ = inp.shape
        hm = torch.zeros(batch, 12, dtype=inp.dtype)
        hs = torch.zeros_like(hm)
        om = torch.zeros(batch, 4, dtype=inp.dtype)
        self.b_h = 0.01
        output = 0
        for i in range(steps):
            h_in = self.i2h(inp[:, i]) + self.h2h(hs)
            hm, hs, _, self.b_h = mem_update_adp(h_in, hm, hs, self.ta, self.b_h, self.tm)
            a = torch.exp(-1.0 / self.tout)
            om = om * a + (1 - a) * self.h2o(hs)
            if i > 2:
                output = output + F.softmax(om, dim=1)
        return output


@network((8, 10), None)
def adaptive_srnn_shd():
    seeded()
    return boosted(Srnn(), 4.0)


class Hetero(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(10, 16) * 0.5)
        self.v = nn.Parameter(torch.randn(16, 16) * 0.2)
        self.wo = nn.Parameter(torch.randn(16, 3))
        self.a = nn.Parameter(torch.randn(1, 16))
        self.b = nn.Parameter(torch.randn(1, 16))
        self.th = nn.Parameter(torch.rand(1, 16) + 0.3)

    def forward(self, x):
        al, be = torch.sigmoid(self.a).clamp(0.3, 0.99), torch.sigmoid(self.b).clamp(0.3, 0.99)
        syn = x.new_zeros(x.shape[0], 16)
        mem = torch.zeros_like(syn)
        out = torch.zeros_like(mem)
        rec = []
        h = torch.einsum("abc,cd->abd", x, self.w)
        flt = x.new_zeros(x.shape[0], 3)
        ro = x.new_zeros(x.shape[0], 3)
        for t in range(x.shape[1]):
            h1 = h[:, t] + torch.einsum("ab,bc->ac", out, self.v)
            mthr = mem - self.th
            out = torch.heaviside(mthr, torch.zeros((), dtype=x.dtype))
            rst = out.detach()
            syn, mem = al * syn + h1, (be * mem + (1 - be) * syn) * (1 - rst)
            ro = 0.9 * ro + 0.1 * flt
            flt = 0.8 * flt + out @ self.wo
            rec.append(ro)
        return torch.stack(rec, 1).max(1)[0]


@network((9, 10), None)
def heterogeneous_shd():
    seeded()
    return boosted(Hetero())


@torch.jit.script
def lif_jit(x: torch.Tensor, v: torch.Tensor, tau: float, th: float):
    v = v + (x - v) / tau
    s = (v >= th).to(x.dtype)
    v = v * (1.0 - s)
    return s, v


class Jit(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(10, 12)
        self.b = nn.Linear(12, 4)

    def forward(self, x):
        v = torch.zeros(x.shape[1], 12, dtype=x.dtype)
        o = []
        for t in range(x.shape[0]):
            sp, v = lif_jit(self.a(x[t]), v, 2.0, 0.4)
            o.append(self.b(sp))
        return torch.stack(o)


@network((10,), 6)
def jit_step():
    seeded()
    return boosted(Jit())


class Ternary(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(10, 12)
        self.b = nn.Linear(12, 4)
        self.alpha = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        v = 0.0
        o = []
        for xt in x:
            v = 0.5 * v + self.a(xt)
            sp = torch.sign(v) * (v.abs() >= 0.8).to(x.dtype)
            v = v * (1 - sp.abs())
            o.append(self.b(sp * self.alpha))
        return torch.stack(o).sum(0)


@network((10,), 6)
def ternary_spikes():
    seeded()
    return boosted(Ternary())


class SigmaDelta(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(10, 12)
        self.b = nn.Linear(12, 4)
        self.th = 0.1

    def forward(self, x):
        ref = torch.zeros_like(x[0])
        sig = torch.zeros(x.shape[1], 12, dtype=x.dtype)
        ref2 = torch.zeros_like(sig)
        out = torch.zeros(x.shape[1], 4, dtype=x.dtype)
        ys = []
        for t in range(len(x)):
            d = x[t] - ref
            d = torch.where(d.abs() > self.th, d, torch.zeros_like(d))
            ref = ref + d
            sig = sig + F.linear(d, self.a.weight)
            act = F.relu(sig + self.a.bias)
            e = act - ref2
            e = e * (e.abs() >= self.th)
            ref2 = ref2 + e
            out = out + F.linear(e, self.b.weight)
            ys.append(out + self.b.bias)
        return torch.stack(ys)


@network((10,), 6)
def sigma_delta():
    seeded()
    return boosted(SigmaDelta(), 1.0)


class Lsm(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("win", torch.randn(10, 20))
        self.register_buffer("w", torch.randn(20, 20) * 0.4)
        self.register_buffer("mask", (torch.rand(20, 20) < 0.2).float())
        self.ro = nn.Linear(20, 3)

    def forward(self, x):
        batch = x.shape[1]
        v = x.new_zeros(batch, 20)
        sp = torch.zeros_like(v)
        refr = torch.zeros(batch, 20, dtype=torch.int64)
        tr = torch.zeros_like(v)
        for xt in x.unbind(0):
            cur = xt @ self.win + sp @ (self.w * self.mask)
            v = torch.where(refr > 0, v, v * 0.9 + cur)
            sp = (v > 1.0).to(x.dtype)
            v = v - v * sp
            refr = torch.where(sp > 0, torch.full_like(refr, 2), (refr - 1).clamp(min=0))
            tr = tr * 0.95 + sp
        return self.ro(tr)


@network((10,), 7)
def liquid_state():
    seeded()
    return boosted(Lsm())


class Bi(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(10, 8)
        self.rf = nn.Linear(8, 8, bias=False)
        self.b = nn.Linear(10, 8)
        self.rb = nn.Linear(8, 8, bias=False)
        self.o = nn.Linear(16, 4)

    def _scan(self, seq, w, r):
        v = s_ = None
        out = []
        for xt in seq:
            i = w(xt) if s_ is None else w(xt) + r(s_)
            v = i if v is None else 0.7 * v * (1 - s_) + i
            s_ = (v > 0.6).to(v.dtype)
            out.append(s_)
        return torch.stack(out)

    def forward(self, x):
        return self.o(
            torch.cat((self._scan(x, self.f, self.rf), self._scan(x.flip(0), self.b, self.rb).flip(0)), -1)
        ).mean(0)


@network((10,), 6)
def bidirectional_rsnn():
    seeded()
    return boosted(Bi())


class Diehl(nn.Module):
    """state in attributes, adaptive thresholds, refractory counters, lateral inhibition"""

    def __init__(self):
        super().__init__()
        self.w = nn.Linear(10, 12, bias=False)
        self.o = nn.Linear(12, 3)
        self.register_buffer("lat", -0.3 * (torch.ones(12, 12) - torch.eye(12)))
        self.reset()

    def reset(self):
        self.v = None
        self.theta = None
        self.refrac = None
        self.sp = None

    def forward(self, x):
        i = self.w(x)
        if self.v is None:
            self.v = torch.zeros_like(i)
            self.theta = torch.zeros_like(i)
            self.refrac = torch.zeros_like(i)
            self.sp = torch.zeros_like(i)
        i = i + self.sp @ self.lat
        self.v = 0.9 * self.v + torch.where(self.refrac <= 0, i, torch.zeros_like(i))
        self.refrac = self.refrac - 1
        self.sp = (self.v >= 0.6 + self.theta).to(x.dtype)
        self.refrac = self.refrac.masked_fill(self.sp.bool(), 2.0)
        self.v = self.v.masked_fill(self.sp.bool(), 0.0)
        self.theta = 0.99 * self.theta + 0.05 * self.sp
        return self.o(self.sp)


@network((10,), 8, by="step")
def diehl_cook():
    seeded()
    return boosted(Diehl())


class ParLif(nn.Module):
    """membranes of all steps by one matrix of decays, no reset"""

    def __init__(self, steps=6):
        super().__init__()
        i = torch.arange(steps)
        d = (i[:, None] - i[None]).clamp(min=0)
        self.register_buffer("K", torch.tril(0.7**d))
        self.a = nn.Linear(10, 12)
        self.o = nn.Linear(12, 4)

    def forward(self, x):
        v = torch.tensordot(self.K.to(x.dtype), self.a(x), dims=([1], [0]))
        return self.o((v >= 0.8).to(x.dtype))


@network((10,), 6)
def parallel_decay_matrix():
    seeded()
    return boosted(ParLif())


class Real(nn.Module):
    """the same with its two parts by hand"""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(10, 8)
        self.om = nn.Parameter(torch.rand(8) * 3)
        self.b = nn.Parameter(torch.rand(8) * 0.5 + 0.1)
        self.o = nn.Linear(8, 3)

    def forward(self, x):
        u = self.a(x)
        re = torch.zeros_like(u[0])
        im = torch.zeros_like(re)
        q = torch.zeros_like(re)
        o = []
        for t in range(u.shape[0]):
            b = -self.b - q
            re, im = re + 0.1 * (b * re - self.om * im + u[t] * 5), im + 0.1 * (self.om * re + b * im)
            sp = (re - (0.2 + q) > 0).to(x.dtype)
            q = 0.9 * q + sp
            o.append(self.o(sp))
        return torch.stack(o).mean(0)


@network((10,), 8)
def balanced_resonators():
    seeded()
    return boosted(Real(), 6.0)
