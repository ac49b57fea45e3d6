"""A small convolutional network with LIF neurons, from parts that every target takes."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn


def _lif() -> neuron.LIFNode:
    return neuron.LIFNode(tau=2.0, v_threshold=1.0, v_reset=0.0, surrogate_function=surrogate.ATan(), detach_reset=True)


class SpikingCNN(nn.Module):
    """Three 3x3 convolutions, each with BN and LIF, and a linear read-out that is averaged over time.

    Strides stand where others pool: the operands of every layer but the first are spikes, not averages of them.

    Args:
        channels: Width of the first convolution; the other two have twice and four times as many.
        classes: Number of classes.
    """

    def __init__(self, channels: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = layer.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = layer.BatchNorm2d(channels)
        self.lif1 = _lif()
        self.conv2 = layer.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        self.bn2 = layer.BatchNorm2d(2 * channels)
        self.lif2 = _lif()
        self.conv3 = layer.Conv2d(2 * channels, 4 * channels, 3, stride=2, padding=1, bias=False)
        self.bn3 = layer.BatchNorm2d(4 * channels)
        self.lif3 = _lif()
        self.fc = layer.Linear(4 * channels * 2 * 2, classes)
        functional.set_step_mode(self, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps digits `[T, B, 1, 8, 8]` to logits `[B, classes]`, averaged over time."""
        x = self.lif1(self.bn1(self.conv1(x)))
        x = self.lif2(self.bn2(self.conv2(x)))
        x = self.lif3(self.bn3(self.conv3(x)))
        return self.fc(x.flatten(2)).mean(0)
