"""Two small classifiers of images: one without time, one of SpikingJelly's neurons."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from neurokit import pipeline
from neurokit.spec import ModelSpec, TensorSpec

CLASSES, STEPS = ("ant", "bee", "cat", "dog"), 3


class Plain(nn.Module):
    """Convolutions, global average pooling and a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 1, 1)
        self.head = nn.Linear(6, len(CLASSES))

    def features(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Spiking(nn.Module):
    """The same with neurons, over time: `[T, B, 1, 12, 12]` to `[T, B, classes]`; neurons in the head as well."""

    def __init__(self):
        super().__init__()
        self.first = layer.Conv2d(1, 4, 3, 2, 1, step_mode="m")
        self.lif1 = neuron.LIFNode(tau=1.5, v_threshold=0.2, step_mode="m")
        self.second = layer.Conv2d(4, 6, 3, 1, 1, step_mode="m")
        self.lif2 = neuron.LIFNode(tau=1.5, v_threshold=0.1, step_mode="m")
        self.pool = layer.AdaptiveAvgPool2d(1, step_mode="m")
        self.hidden = layer.Linear(6, 8, step_mode="m")
        self.lif3 = neuron.LIFNode(tau=2.0, v_threshold=0.1, step_mode="m")
        self.head = layer.Linear(8, len(CLASSES), step_mode="m")

    def features(self, x):
        return self.lif2(self.second(self.lif1(self.first(x))))

    def rest(self, maps):
        return self.head(self.lif3(self.hidden(self.pool(maps).flatten(2))))

    def forward(self, x):
        return self.rest(self.features(x))


@pytest.fixture(scope="module")
def images():
    return torch.rand((20, 1, 12, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def plain():
    """The module and its capture."""
    torch.manual_seed(0)
    module = Plain().eval()
    spec = ModelSpec("plain", lambda: module, (TensorSpec("image", (1, 12, 12)),), classes=CLASSES)
    return module, pipeline.capture(spec)


@pytest.fixture(scope="module")
def spiking():
    """The module and its capture."""
    torch.manual_seed(0)
    module = Spiking().eval()
    spec = ModelSpec("spiking", lambda: module, (TensorSpec("image", (1, 12, 12)),), classes=CLASSES, time_steps=STEPS)
    return module, pipeline.capture(spec)
