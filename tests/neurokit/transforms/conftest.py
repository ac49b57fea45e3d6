"""A small network of every kind of layer that a conversion meets, the same every time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokit.data.synthetic import images
from neurokit.models.common.untrained import calibrate_batch_norm
from neurokit.spec import ModelSpec, TensorSpec

SHAPE = (2, 8, 8)


class Small(nn.Module):
    """An inverted residual, a residual block with a ReLU behind its sum, both poolings, ReLU and ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.expand = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.pool = nn.AvgPool2d(2)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 16, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.expand(self.project(self.depthwise(x)))
        x = torch.relu(x + self.branch(x))
        return self.head(torch.relu(self.grouped(self.pool(x))))


def build_small() -> nn.Module:
    """Random weights with statistics to match."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return calibrate_batch_norm(Small().eval(), images(64, SHAPE))


@pytest.fixture(scope="session")
def small_relus() -> ModelSpec:
    """The network as a specification, with images for its example."""
    return ModelSpec(
        "relus",
        build_small,
        (TensorSpec("x", SHAPE, low=-3.0, high=3.0),),
        classes=tuple("abcde"),
        example=lambda batch, time_steps, seed: images(batch, SHAPE, seed),
    )
