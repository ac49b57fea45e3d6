"""Six small spiking networks, each with other operators, that faults are planted into."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn


@dataclass(frozen=True)
class Network:
    """One network: how to build it, the shape of a sample, and T (0 of a network without neurons)."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    steps: int


def _prepared(module: nn.Module, gain: float, bias: float) -> nn.Module:
    """Returns the module in multi-step mode, with weights large enough that it spikes."""
    generator = torch.Generator().manual_seed(5)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.Conv1d):
            part.weight.data.mul_(gain)
            if part.bias is not None:
                part.bias.data.add_(bias)
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            n = part.num_features
            part.running_mean.copy_(0.1 * torch.randn(n, generator=generator))
            part.running_var.copy_(0.1 * torch.rand(n, generator=generator) + 0.05)
            part.bias.data.copy_(0.6 * torch.rand(n, generator=generator) + 0.1)
    functional.set_step_mode(module, "m")
    return module.eval()


class Rate(nn.Module):
    """Convolution, BatchNorm and LIF twice, average pooling, then a soft-reset IF whose spikes are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            layer.Conv2d(2, 8, 3, padding=1, bias=False),
            layer.BatchNorm2d(8),
            neuron.LIFNode(),
            layer.AvgPool2d(2),
            layer.Conv2d(8, 8, 3, stride=2, padding=1, bias=False),
            layer.BatchNorm2d(8),
            neuron.LIFNode(tau=3.0),
            layer.Flatten(),
            layer.Linear(32, 6),
            neuron.IFNode(v_reset=None),
        )

    def forward(self, x):
        return self.net(x).mean(0)


class Residual(nn.Module):
    """A skip connection of spikes, a depthwise convolution, max pooling, joined channels, logits a step."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = layer.Conv2d(1, 6, 3, padding=1), neuron.ParametricLIFNode(init_tau=2.0)
        self.deep, self.b = layer.Conv2d(6, 6, 3, padding=1, groups=6), neuron.LIFNode(tau=1.5, v_threshold=0.7)
        self.pool = layer.MaxPool2d(2)
        self.up, self.c = layer.Conv2d(12, 8, 3, padding=1), neuron.LIFNode(tau=2.5, decay_input=False, v_threshold=1.2)
        self.fc = layer.Linear(8 * 16, 5)

    def forward(self, x):
        a = self.a(self.stem(x))
        b = self.b(self.deep(a)) + a
        return self.fc(self.c(self.up(self.pool(torch.cat([a, b], 2)))).flatten(2))


class Deep(nn.Module):
    """Four linear layers with soft resets and resets to other potentials; its output is spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            layer.Linear(20, 24),
            neuron.LIFNode(v_reset=-0.2),
            layer.Linear(24, 24),
            neuron.LIFNode(tau=4.0, v_reset=None, decay_input=False),
            layer.Linear(24, 24),
            neuron.IFNode(v_threshold=0.8),
            layer.Linear(24, 6),
            neuron.LIFNode(),
        )

    def forward(self, x):
        return self.net(x)


class Sound(nn.Module):
    """One-dimensional convolutions over a signal, the last step's logits."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.x = layer.Conv1d(3, 8, 5, padding=2), neuron.LIFNode(tau=2.0, decay_input=False)
        self.b, self.y = layer.Conv1d(8, 8, 3, stride=2, padding=1), neuron.IFNode()
        self.fc = layer.Linear(8 * 8, 4)

    def forward(self, x):
        return self.fc(self.y(self.b(self.x(self.a(x)))).flatten(2))[-1]


class Summed(nn.Module):
    """Spikes of two branches, gated by each other, summed over time."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.u = layer.Linear(16, 20), neuron.LIFNode(v_threshold=0.6)
        self.q, self.v = layer.Linear(16, 20), neuron.IFNode(v_threshold=0.9)
        self.fc = layer.Linear(20, 5)

    def forward(self, x):
        return self.fc(self.u(self.p(x)) * self.v(self.q(x)) + self.u_again(x)).sum(0)

    def u_again(self, x):
        return x.mean(-1, keepdim=True)


class Wide(nn.Module):
    """A wide layer of plain LIFs, whose currents are many more than are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            layer.Linear(12, 16), neuron.LIFNode(), layer.Linear(16, 3000), neuron.LIFNode(), layer.Linear(3000, 4)
        )

    def forward(self, x):
        return self.net(x)


def _make(kind: type[nn.Module], gain: float, bias: float) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        torch.manual_seed(3)
        return _prepared(kind(), gain, bias)

    return build


NETWORKS = {
    "rate": Network(_make(Rate, 2.0, 0.5), (2, 8, 8), 4),
    "residual": Network(_make(Residual, 3.0, 0.5), (1, 8, 8), 5),
    "deep": Network(_make(Deep, 4.0, 0.5), (20,), 6),
    "sound": Network(_make(Sound, 3.0, 0.4), (3, 16), 5),
    "summed": Network(_make(Summed, 3.0, 0.4), (16,), 4),
    "wide": Network(_make(Wide, 3.0, 0.5), (12,), 3),
}


def _plain(make: Callable[[], list[nn.Module]], shape: tuple[int, ...], *, join: bool = False) -> Network:
    """A network without neurons; `join` adds its first layer's output to its second's."""

    def build() -> nn.Module:
        torch.manual_seed(4)
        parts = make()
        net = Joined(*parts) if join else nn.Sequential(*parts)
        return net.eval()

    return Network(build, shape, 0)


class Joined(nn.Module):
    """Two convolutions, the first also past the second, and what comes behind them."""

    def __init__(self, first: nn.Module, second: nn.Module, *rest: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.rest = first, second, nn.Sequential(*rest)

    def forward(self, x):
        a = torch.relu(self.first(x))
        return self.rest(torch.relu(self.second(a)) + a)


def _pooled() -> list[nn.Module]:
    pool = nn.AvgPool2d(2, count_include_pad=True)
    return [nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(128, 6)]


def _depthwise() -> list[nn.Module]:
    deep = [nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU6(), nn.Conv2d(6, 8, 1), nn.ReLU6(), nn.MaxPool2d(2)]
    return [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU6(), *deep, nn.Flatten(), nn.Linear(128, 5)]


def _signal() -> list[nn.Module]:
    first = [nn.Conv1d(3, 8, 5, padding=2), nn.ReLU()]
    return [*first, nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)]


def _linear(*sizes: int) -> list[nn.Module]:
    made = [part for a, b in itertools.pairwise(sizes[:-1]) for part in (nn.Linear(a, b), nn.ReLU())]
    return [*made, nn.Linear(sizes[-2], sizes[-1])]


def _skip() -> list[nn.Module]:
    first = [nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)]
    return [*first, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 7)]


class Traced(nn.Module):
    """A neuron that reads a trace of its own spikes, in a loop: forms of a free T take both neurons apart."""

    def __init__(self, threshold: float = 1.0) -> None:
        super().__init__()
        self.first, self.sn1 = nn.Linear(10, 16), neuron.LIFNode(tau=1.75, v_threshold=threshold)
        self.second, self.sn2, self.last = nn.Linear(16, 16), neuron.IFNode(), nn.Linear(16, 4)

    def forward(self, x):
        found, trace = [], torch.zeros(x.shape[1], 16)
        for x_t in x:
            spikes = self.sn1(self.first(x_t) + 0.5 * trace)
            trace = 0.75 * trace + spikes
            found.append(self.last(self.sn2(self.second(spikes))))
        return torch.stack(found)


def _recurrent() -> nn.Module:
    loop = layer.LinearRecurrentContainer(neuron.LIFNode(tau=2.0), 16, 16)
    return nn.Sequential(layer.Linear(10, 16), loop, layer.Linear(16, 16), neuron.IFNode(), layer.Linear(16, 4))


def _of_steps(build: Callable[[], nn.Module], single: bool = False) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        torch.manual_seed(3)
        net = _prepared(build(), 3.0, 0.1)
        if single:
            functional.set_step_mode(net, "s")
        return net

    return made


# What forms of a free T hide layers of (`tests.mutation.drawn`).
LOOPED = {"traced": Network(_of_steps(Traced, True), (10,), 4), "recurrent": Network(_of_steps(_recurrent), (10,), 4)}

# What onnx-int8 is asked of: it takes networks without neurons only.
WITHOUT_NEURONS = {
    "pooled": _plain(_pooled, (2, 8, 8)),
    "depthwise": _plain(_depthwise, (3, 8, 8)),
    "signal": _plain(_signal, (3, 16)),
    "perceptron": _plain(lambda: _linear(20, 24, 24, 6), (20,)),
    "skip": _plain(_skip, (1, 8, 8), join=True),
    "broad": _plain(lambda: _linear(12, 400, 4), (12,)),
}
