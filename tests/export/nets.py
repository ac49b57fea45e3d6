"""Small networks of the NIR tests."""

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn


def dyadic(net):
    """Makes every weight a multiple of 1/8, so that sums are exact and membranes often meet the threshold."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for name, value in (("weight", 2.0), ("bias", 0.125), ("running_var", 1.0 - 1e-5)):
                    getattr(module, name).fill_(value)
                module.eps = 1e-5
            elif hasattr(module, "weight"):
                for parameter in module.parameters(recurse=False):
                    parameter.copy_((parameter * 24 + 1).round() / 8)
    return net


def conv_net(groups=1, pool="avg", decay_input=True, tau=2.0):
    """conv, BN, LIF, pool, conv, LIF, linear, LIF over `[T, B, 2, 8, 8]`."""
    pools = {"avg": layer.AvgPool2d(2), "max": layer.MaxPool2d(2, padding=1)}
    lif = lambda: neuron.LIFNode(tau=tau, decay_input=decay_input)  # noqa: E731
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        lif(),
        pools[pool],
        layer.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups),
        lif(),
        layer.Flatten(),
        layer.Linear(32 if pool == "avg" else 72, 10),
        lif(),
    )
    functional.set_step_mode(net, "m")
    return net.eval()


class Residual(nn.Module):
    """A spike-element-wise shortcut, a sum with itself, a scale and a mean over time, over `[T, B, 1, 6, 6]`."""

    def __init__(self):
        super().__init__()
        self.stem = layer.Conv2d(1, 4, 3, padding=1)
        self.sn0 = neuron.IFNode()
        self.conv = layer.Conv1d(4, 4, 3, padding=1)
        self.sn1 = neuron.IFNode()
        self.sn2 = neuron.ParametricLIFNode(init_tau=4.0)
        self.fc = layer.Linear(4 * 36, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.sn0(self.stem(x)).flatten(3)
        x = x + self.sn1(self.conv(x))
        x = self.sn2((x + x) * 0.5)
        return self.fc(x.flatten(2)).mean(0)


def inputs(*shape, seed=0):
    """Multiples of 1/4 from 0 to 1."""
    return (np.random.default_rng(seed).integers(0, 5, shape) / 4).astype(np.float32)


def reference(net, x):
    """What SpikingJelly itself computes."""
    functional.reset_net(net)
    with torch.no_grad():
        y = net(torch.from_numpy(x)).numpy()
    functional.reset_net(net)
    return y
