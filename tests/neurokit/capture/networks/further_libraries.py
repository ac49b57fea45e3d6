"""snnTorch's, norse's and SpikingJelly's own parts in further styles: tutorials, encoders, gated cells."""

import norse.torch as norse
import snntorch as snn
import torch
import torch.nn.functional as F
from snntorch import spikegen, utils
from snntorch import surrogate as ssur
from spikingjelly.activation_based import rnn as sjrnn
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


class CSNN(nn.Module):
    def __init__(self):
        super().__init__()
        g = ssur.fast_sigmoid(slope=25)
        self.c1 = nn.Conv2d(1, 4, 3)
        self.l1 = snn.Leaky(beta=torch.full((4, 1, 1), 0.7), spike_grad=g, learn_beta=True, threshold=0.4)
        self.c2 = nn.Conv2d(4, 6, 2)
        self.l2 = snn.Leaky(beta=0.5, spike_grad=g, threshold=torch.tensor(0.3), learn_threshold=True)
        self.fc = nn.Linear(6, 3)
        self.l3 = snn.Leaky(beta=0.5, reset_mechanism="none")
        self.num_steps = 5

    def forward(self, x):
        m1, m2, m3 = self.l1.init_leaky(), self.l2.init_leaky(), self.l3.init_leaky()
        sr, mr = [], []
        for _ in range(self.num_steps):
            sp, m1 = self.l1(F.max_pool2d(self.c1(x), 2), m1)
            sp, m2 = self.l2(F.max_pool2d(self.c2(sp), 2), m2)
            sp, m3 = self.l3(self.fc(sp.flatten(1)), m3)
            sr.append(sp)
            mr.append(m3)
        return torch.stack(sr, 0), torch.stack(mr, 0)


@network((1, 8, 8), None)
def snntorch_csnn():
    seeded()
    return boosted(CSNN())


class SAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            snn.Leaky(beta=0.5, init_hidden=True, threshold=0.4),
            nn.Conv2d(4, 8, 3, stride=2, padding=1),
            snn.Leaky(beta=0.5, init_hidden=True, threshold=0.4),
            nn.Flatten(),
            nn.Linear(32, 6),
            snn.Leaky(beta=0.5, init_hidden=True, output=True, threshold=0.4),
        )
        self.lin = nn.Linear(6, 32)
        self.dec = nn.Sequential(
            nn.Unflatten(1, (8, 2, 2)),
            snn.Leaky(beta=0.5, init_hidden=True, threshold=0.4),
            nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1),
            snn.Leaky(beta=0.5, init_hidden=True, threshold=0.4),
            nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1),
            snn.Leaky(beta=0.5, init_hidden=True, output=True, threshold=20000),
        )

    def forward(self, x):
        utils.reset(self.enc)
        utils.reset(self.dec)
        mems = []
        for _ in range(4):
            sp, _ = self.enc(x)
            _, mem = self.dec(self.lin(sp))
            mems.append(mem)
        return torch.stack(mems)[-1]


@network((1, 8, 8), None)
def snntorch_autoencoder():
    seeded()
    return boosted(SAE())


class RSyn(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(10, 12)
        self.r = snn.RSynaptic(alpha=0.8, beta=0.7, linear_features=12, threshold=0.5)
        self.o = nn.Linear(12, 4)
        self.l = snn.Alpha(alpha=0.9, beta=0.8, threshold=0.3)

    def forward(self, x):
        spk, syn, mem = self.r.init_rsynaptic()
        se, si, m2 = self.l.init_alpha()
        rec = []
        for t in range(x.size(0)):
            spk, syn, mem = self.r(self.f(x[t]), spk, syn, mem)
            sp, se, si, m2 = self.l(self.o(spk), se, si, m2)
            rec.append(sp + 0.1 * m2)
        return torch.stack(rec)


@network((10,), 6, single=True)
def snntorch_rsynaptic_alpha():
    seeded()
    return boosted(RSyn())


class Inh(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(10, 8)
        self.l = snn.Leaky(beta=0.8, threshold=0.3, inhibition=True)
        self.o = nn.Linear(8, 3)

    def forward(self, x):
        a = self.l.init_leaky()
        out = []
        for xt in x:
            sp, a = self.l(self.f(xt), a)
            out.append(self.o(sp))
        return torch.stack(out)


@network((10,), 6)
def snntorch_inhibition():
    seeded()
    return boosted(Inh())


class Delta(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(10, 8)
        self.l = snn.Leaky(beta=0.8, threshold=0.3)
        self.o = nn.Linear(8, 3)

    def forward(self, x):
        d = spikegen.delta(x, threshold=0.2, off_spike=True)
        a = self.l.init_leaky()
        out = []
        for t in range(x.shape[0]):
            sp, a = self.l(self.f(d[t].to(x.dtype)), a)
            out.append(self.o(sp))
        return torch.stack(out).mean(0)


@network((10,), 6)
def snntorch_delta_code():
    seeded()
    return boosted(Delta(), 5.0)


class NorseEnc(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = norse.ConstantCurrentLIFEncoder(seq_length=6)
        self.c = nn.Conv2d(1, 4, 3, padding=1)
        self.l = norse.LIFCell(norse.LIFParameters(v_th=torch.tensor(0.1)))
        self.o = norse.LILinearCell(4 * 16, 3)

    def forward(self, x):
        x = self.e(x * 4)
        sl = so = None
        vs = []
        for t in range(6):
            z = F.avg_pool2d(self.c(x[t]), 2)
            z, sl = self.l(z * 20, sl)
            v, so = self.o(z.flatten(1), so)
            vs.append(v)
        return F.log_softmax(torch.stack(vs).max(0).values, dim=1)


@network((1, 8, 8), None)
def norse_mnist_encoder():
    seeded()
    return boosted(NorseEnc(), 3.0)


class NorseLsnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.r = norse.LSNNRecurrentCell(10, 12)
        self.o = nn.Linear(12, 3)

    def forward(self, x, state=None):
        out = []
        for t in range(x.shape[0]):
            z, state = self.r(x[t] * 30, state)
            out.append(self.o(z))
        return torch.stack(out)


@network((10,), 8)
def norse_lsnn_recurrent():
    seeded()
    return boosted(NorseLsnn())


@network((10,), 6, by="state")
def norse_sequential_state():
    seeded()
    return boosted(
        norse.SequentialState(
            nn.Linear(10, 12),
            norse.LIFCell(norse.LIFParameters(v_th=torch.tensor(0.2), tau_syn_inv=torch.tensor(300.0))),
            nn.Linear(12, 8),
            norse.LIFRefracCell(),
            nn.Linear(8, 4),
            norse.LICell(),
        ),
        8.0,
    )


@network((10,), 6)
def sj_spiking_lstm():
    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = sjrnn.SpikingLSTM(10, 12, 1)
            self.o = nn.Linear(12, 3)

        def forward(self, x):
            y, _ = self.r(x)
            return self.o(y).mean(0)

    seeded()
    return boosted(N())


@network((10,), 6)
def sj_spiking_gru():
    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = sjrnn.SpikingGRU(10, 12, 2)
            self.o = nn.Linear(12, 3)

        def forward(self, x):
            y, _ = self.r(x)
            return self.o(y[-1])

    seeded()
    return boosted(N())
