"""SpikingJelly's layers in further published structures: segments, points, attention over time and channels."""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


class UNet(nn.Module):
    def __init__(self):
        super().__init__()

        def n():
            return neuron.IFNode(v_threshold=0.4, v_reset=None)

        self.e1 = layer.Conv2d(1, 4, 3, padding=1)
        self.n1 = n()
        self.d = layer.MaxPool2d(2)
        self.e2 = layer.Conv2d(4, 8, 3, padding=1)
        self.n2 = n()
        self.u = layer.ConvTranspose2d(8, 4, 2, 2)
        self.n3 = n()
        self.e3 = layer.Conv2d(8, 4, 3, padding=1)
        self.n4 = n()
        self.o = layer.Conv2d(4, 2, 1)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = x.unsqueeze(0).repeat(4, 1, 1, 1, 1)
        a = self.n1(self.e1(x))
        b = self.n2(self.e2(self.d(a)))
        c = self.n3(self.u(b))
        h = self.n4(self.e3(torch.cat((a, c), 2)))
        return torch.sigmoid(self.o(h).mean(0))


@network((1, 8, 8), None)
def spiking_unet_segment():
    seeded()
    return boosted(UNet())


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = layer.Conv1d(3, 8, 1)
        self.b = layer.BatchNorm1d(8)
        self.n = neuron.LIFNode(v_threshold=0.4)
        self.c = layer.Conv1d(8, 12, 1)
        self.n2 = neuron.LIFNode(v_threshold=0.4)
        self.o = layer.Linear(12, 4)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        h = self.n2(self.c(self.n(self.b(self.a(x)))))
        return self.o(torch.max(h, dim=-1, keepdim=False)[0]).mean(0)


@network((3, 10), 4)
def spiking_pointnet():
    seeded()
    return boosted(PointNet())


class Tcja(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = layer.Conv2d(2, 6, 3, padding=1)
        self.n = neuron.LIFNode(v_threshold=0.4)
        self.ct = nn.Conv1d(5, 5, 3, padding=1, bias=False)
        self.cc = nn.Conv1d(6, 6, 3, padding=1, bias=False)
        self.n2 = neuron.LIFNode(v_threshold=0.3)
        self.c2 = layer.Conv2d(6, 6, 3, padding=1)
        self.o = nn.Linear(6, 4)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        h = self.n(self.c(x))
        z = h.permute(1, 0, 2, 3, 4).mean((3, 4))
        a = self.ct(z)
        b = self.cc(z.permute(0, 2, 1)).permute(0, 2, 1)
        w = torch.sigmoid(a * b).permute(1, 0, 2)[..., None, None]
        return self.o(self.n2(self.c2(h * w)).mean((3, 4))).mean(0)


@network((2, 8, 8), 5)
def tcja():
    seeded()
    return boosted(Tcja())
