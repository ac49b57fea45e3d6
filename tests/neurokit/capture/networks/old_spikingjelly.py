"""Networks written for SpikingJelly before 2.0, as its published users wrote them; read as a file, not imported."""

import torch
from spikingjelly.cext import neuron as cext_neuron
from spikingjelly.clock_driven import functional, layer, neuron, surrogate
from spikingjelly.clock_driven.neuron import BaseNode, LIFNode, MultiStepLIFNode, MultiStepParametricLIFNode
from torch import nn


def boosted(module, gain=3.0):
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                part.weight.mul_(gain)
    return module.eval()


class Strict(surrogate.SurrogateFunctionBase):
    """Takes its slope by position; fires above the threshold, not at it."""

    def __init__(self, alpha=1.0, spiking=True):
        super().__init__(alpha, spiking)

    @staticmethod
    def spiking_function(x, alpha):
        return (x > 0).to(x)

    @staticmethod
    def primitive_function(x, alpha):
        return torch.sigmoid(x * alpha)


class Quadratic(BaseNode):
    def neuronal_charge(self, x):
        self.v = self.v + 0.5 * (self.v * (self.v - 0.3) + x)


class Threshold(neuron.LIFNode):
    """A learnt threshold for each channel."""

    def __init__(self, channels):
        super().__init__(tau=2.0)
        self.th = nn.Parameter(torch.linspace(0.1, 0.5, channels))

    def neuronal_fire(self):
        return self.surrogate_function(self.v - self.th)


class Adaptive(neuron.BaseNode):
    def __init__(self, v_threshold):
        super().__init__(v_threshold)
        self.register_memory("th", 0.0)

    def neuronal_charge(self, x):
        self.v = self.v + (x - self.v) / 2

    def neuronal_fire(self):
        return self.surrogate_function(self.v - self.v_threshold - self.th)

    def neuronal_reset(self, spike):
        super().neuronal_reset(spike)
        self.th = self.th * 0.9 + 0.2 * spike


class Convolutional(nn.Module):
    """Layers over time with the old containers and neurons."""

    def __init__(self):
        super().__init__()
        self.conv = layer.SeqToANNContainer(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.lif = MultiStepLIFNode(tau=2.0, detach_reset=True, backend="cupy")
        self.plif = MultiStepParametricLIFNode(init_tau=2.0, surrogate_function=surrogate.ATan())
        self.drop, self.fc = layer.MultiStepDropout(0.5), nn.Linear(64, 5)
        self.out = neuron.MultiStepIFNode(v_threshold=0.3)

    def forward(self, x):
        h = self.plif(self.lif(self.conv(x)))
        return self.out(self.drop(self.fc(h.flatten(2)))).mean(0)


def convolutional():
    torch.manual_seed(0)
    return boosted(Convolutional())


def own_neurons():
    torch.manual_seed(0)
    cells = [LIFNode(2.0, 0.5), Quadratic(v_threshold=0.3), Threshold(12), Adaptive(0.3)]
    parts = [part for cell in cells for part in (nn.Linear(12, 12), cell)]
    return boosted(nn.Sequential(*parts, nn.Linear(12, 3)))


def strict_surrogate():
    torch.manual_seed(0)
    cell = cext_neuron.MultiStepIFNode(surrogate_function=Strict())
    net = nn.Sequential(nn.Linear(10, 12), cell, nn.Linear(12, 3))
    functional.reset_net(net)
    with torch.no_grad():  # on a grid, so that membranes meet the threshold
        net[0].weight.copy_((net[0].weight * 8).round() / 2)
        net[0].bias.zero_()
    return net.eval()
