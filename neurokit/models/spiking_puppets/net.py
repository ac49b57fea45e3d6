"""MobileNetV2 with neurons, and the preprocessing of silhouettes before a network that takes sequences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn
from torchvision.models import MobileNetV2

from neurokit.models.common.silhouette import Silhouette

_LAYERS = {nn.Conv2d: layer.Conv2d, nn.BatchNorm2d: layer.BatchNorm2d}


class SpikingMobileNetV2(nn.Module):
    """MobileNetV2 with a LIF neuron for each ReLU6, over `[T, B, 1, H, W]`.

    Bottlenecks have no activation, as in the source: their shortcuts add currents, not spikes.

    Args:
        classes: Number of classes.
        width: Factor on the channels.
        stages: Expansion, width, blocks and stride of each stage; None for those of the paper.
    """

    def __init__(self, classes: int, width: float, stages: Sequence[Sequence[int]] | None = None) -> None:
        super().__init__()
        settings = None if stages is None else [list(stage) for stage in stages]
        plain = MobileNetV2(classes, width_mult=width, inverted_residual_setting=settings)
        stem = plain.features[0][0]
        plain.features[0][0] = nn.Conv2d(1, stem.out_channels, 3, 2, 1, bias=False)  # a shadow has no colours
        nn.init.kaiming_normal_(plain.features[0][0].weight, mode="fan_out")
        _with_neurons(plain.features)
        self.features = plain.features
        self.head = layer.Linear(plain.last_channel, classes)
        functional.set_step_mode(self, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps silhouettes `[T, B, 1, H, W]` to logits `[T, B, classes]`."""
        return self.head(self.features(x).mean((3, 4)))


def _with_neurons(module: nn.Module) -> None:
    """Puts SpikingJelly's layers, which take sequences, in the place of torch's, and neurons in that of ReLU6."""
    for name, part in module.named_children():
        if isinstance(part, nn.ReLU6):
            lif = neuron.LIFNode(tau=2.0, v_reset=0.0, surrogate_function=surrogate.ATan(), detach_reset=True)
            setattr(module, name, lif)
        elif type(part) in _LAYERS:
            part.__class__ = _LAYERS[type(part)]
            part.step_mode = "m"
        else:
            _with_neurons(part)


class SequenceOfShadows(nn.Module):
    """A spiking network behind `Silhouette`: pictures of bytes in every step in, logits out.

    Attributes:
        front: The preprocessing; holds no weights.
        network: Takes `[T, B, 1, size, size]` and returns logits `[T, B, classes]`, or their mean `[B, classes]`.
    """

    def __init__(self, front: Silhouette, network: nn.Module) -> None:
        super().__init__()
        self.front = front
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits `[B, classes]`, averaged over time, of `[T, B, 1, H, W]`."""
        # Fractions before anything else is done with bytes: TensorRT reshapes none.
        shadows = self.front(image.float().flatten(0, 1)).unflatten(0, image.shape[:2])
        y = self.network(shadows)
        return y.mean(0) if y.dim() == 3 else y
