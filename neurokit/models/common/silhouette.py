"""What is done to a picture of a shadow before a network sees it, as a module, so that it is part of every graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

THRESHOLD = 90  # of 255; brighter is wall (HaSPeR's published preprocessing)
# Half a level above, as if a resized picture had whole levels, and a little: what is interpolated between whole levels
# would otherwise be equal to it at times, and above or below by the last bit from runtime to runtime.
_LEVEL = THRESHOLD + 0.501
DILATION = 3  # pixels; of the wall, as published, so that the shadow gets thinner


class Silhouette(nn.Module):
    """Resizes, thresholds, dilates and normalises 8-bit pictures: `[B, 1, H, W]` to `[B, channels, size, size]`.

    HaSPeR's preprocessing with the dilation as a max-pooling over height and width. Where the picture is at least
    twice as large as the network's input, whole blocks of pixels are averaged first, so that nothing is skipped.

    Attributes:
        size: Height and width of what it returns.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Takes the network's size, and mean and deviation for each channel of walls 1 and shadows 0.

        Args:
            size: Height and width of the network's input.
            mean: One number a channel, which is subtracted.
            std: One number a channel, by which is then divided; negative makes shadows the larger number.
        """
        super().__init__()
        self.size = size
        deviation = torch.tensor(std, dtype=torch.float64)
        # One product and one sum, so that 0 and 1 stay whole numbers where mean and std are.
        scale, shift = 1 / deviation, -torch.tensor(mean, dtype=torch.float64) / deviation
        self.register_buffer("scale", scale.float().reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.float().reshape(1, -1, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns what the network takes of brightness 0 to 255 (bytes or fractions)."""
        bright = (self.resized(image.float()) > _LEVEL).float()
        wall = F.max_pool2d(bright, DILATION, stride=1, padding=DILATION // 2)
        return wall * self.scale + self.shift

    def resized(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the picture in the network's size; a picture of that size as it is."""
        whole = min(image.shape[-2] // self.size, image.shape[-1] // self.size)
        if whole > 1:
            image = F.avg_pool2d(image, whole)
        if tuple(image.shape[-2:]) == (self.size, self.size):
            return image
        return F.interpolate(image, size=(self.size, self.size), mode="bilinear", align_corners=False)


class OfShadows(nn.Module):
    """A network behind `Silhouette`: pictures of bytes in, logits out.

    Attributes:
        front: The preprocessing; holds no weights.
        network: The network; all weights are its.
    """

    def __init__(self, front: Silhouette, network: nn.Module) -> None:
        super().__init__()
        self.front = front
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits `[B, classes]` of `[B, 1, H, W]`."""
        return self.network(self.front(image))
