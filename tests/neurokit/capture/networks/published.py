"""Networks of published structure, small, each with its layers over time and with time around its layers."""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn


def _stronger(net):
    for part in net.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
            with torch.no_grad():
                part.weight.mul_(4)
    return net.eval()


class Gesture(nn.Module):
    """Convolutions with max pooling and a voting layer, as for DVS gestures (Fang et al., ICCV 2021)."""

    shape = (2, 16, 16)

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        blocks = []
        for before, after in ((2, 6), (6, 6)):
            blocks += [layer.Conv2d(before, after, 3, padding=1, bias=False), layer.BatchNorm2d(after)]
            blocks += [neuron.LIFNode(), layer.MaxPool2d(2)]
        self.body = nn.Sequential(*blocks, layer.Flatten(), layer.Linear(6 * 16, 20), neuron.LIFNode())
        self.vote = layer.VotingLayer(4)

    def step(self, x):
        return self.vote(self.body(x))


class Heidelberg(nn.Module):
    """Two layers and a leaky readout over channels of spoken digits (Cramer et al., 2020), without recurrence."""

    shape = (20,)

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second, self.out = layer.Linear(20, 16), layer.Linear(16, 16), layer.Linear(16, 5)
        self.a, self.b = neuron.LIFNode(tau=4.0, v_threshold=0.5), neuron.LIFNode(tau=4.0, v_threshold=0.5)
        self.readout = neuron.LIFNode(tau=4.0, v_threshold=1e6)

    def step(self, x):
        return self.readout(self.out(self.b(self.second(self.a(self.first(x))))))


class Detector(nn.Module):
    """A spiking backbone of two scales with a head a scale, joined over their places."""

    shape = (2, 16, 16)

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = layer.Conv2d(2, 6, 3, 2, 1), layer.Conv2d(6, 8, 3, 2, 1)
        self.heads = nn.ModuleList([layer.Conv2d(6, 5, 1), layer.Conv2d(8, 5, 1)])
        self.sn = nn.ModuleList([neuron.LIFNode(v_threshold=0.5) for _ in range(2)])

    def step(self, x):
        a = self.sn[0](self.a(x))
        b = self.sn[1](self.b(a))
        return torch.cat([head(y).flatten(-2) for head, y in zip(self.heads, (a, b), strict=True)], -1)


class Policy(nn.Module):
    """Population-coded observations, spiking layers, and rates decoded to actions (Tang et al., CoRL 2020)."""

    shape = (4,)

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.register_buffer("centre", torch.linspace(-1, 1, 5))
        self.first, self.second, self.decode = layer.Linear(20, 12), layer.Linear(12, 10), layer.Linear(10, 2)
        self.a, self.b = neuron.IFNode(v_threshold=0.5, v_reset=None), neuron.IFNode(v_threshold=0.5, v_reset=None)

    def step(self, x):
        code = torch.exp(-((x.unsqueeze(-1) - self.centre) ** 2) / 0.5).flatten(-2)
        return torch.tanh(self.decode(self.b(self.second(self.a(self.first(code))))))


class Brainwaves(nn.Module):
    """A temporal and a depthwise convolution over electrodes, then a classifier (EEGNet's plan)."""

    shape = (1, 6, 32)

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.time, self.space = layer.Conv2d(1, 4, (1, 7), padding=(0, 3)), layer.Conv2d(4, 8, (6, 1), groups=4)
        self.norm, self.pool = layer.BatchNorm2d(8), layer.AvgPool2d((1, 4))
        self.sn, self.flat, self.out = neuron.LIFNode(v_threshold=0.5), layer.Flatten(), layer.Linear(64, 3)

    def step(self, x):
        return self.out(self.flat(self.pool(self.sn(self.norm(self.space(self.time(x)))))))


class Depth(nn.Module):
    """A U-Net of spiking convolutions with skip sums, predicting depth (Rancon et al., 2022)."""

    shape = (2, 8, 8)

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.a, self.b = layer.Conv2d(2, 4, 3, padding=1), layer.Conv2d(4, 8, 3, 2, 1)
        self.up, self.out = layer.ConvTranspose2d(8, 4, 2, 2), layer.Conv2d(4, 1, 3, padding=1)
        self.sn = nn.ModuleList([neuron.IFNode(v_threshold=0.5) for _ in range(3)])

    def step(self, x):
        a = self.sn[0](self.a(x))
        b = self.sn[1](self.b(a))
        return self.out(self.sn[2](self.up(b)) + a)


class OverTime(nn.Module):
    """Every layer over all steps."""

    def __init__(self, kind, reduced):
        super().__init__()
        self.net, self.reduced, self.shape = kind(), reduced, kind.shape
        functional.set_step_mode(self.net, "m")

    def forward(self, x):
        y = self.net.step(x)
        return self.net.readout.v if self.reduced == "membrane" else y.mean(0) if self.reduced == "mean" else y


class StepByStep(nn.Module):
    """Every step through all layers."""

    def __init__(self, kind, reduced):
        super().__init__()
        self.net, self.reduced, self.shape = kind(), reduced, kind.shape

    def forward(self, x):
        steps = [self.net.step(x_t) for x_t in x]
        if self.reduced == "membrane":
            return self.net.readout.v
        return sum(steps) / len(steps) if self.reduced == "mean" else torch.stack(steps)


PUBLISHED = {
    "gesture": (Gesture, "mean"),
    "heidelberg": (Heidelberg, "membrane"),
    "detector": (Detector, "mean"),
    "policy": (Policy, "sequence"),
    "brainwaves": (Brainwaves, "mean"),
    "depth": (Depth, "sequence"),
}


def published(name, over_time):
    """Returns one of them in one of the two styles."""
    kind, reduced = PUBLISHED[name]
    return _stronger((OverTime if over_time else StepByStep)(kind, reduced))
