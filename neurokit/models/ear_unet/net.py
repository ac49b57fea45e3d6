"""EAR-U-Net: an EfficientNet-B4 encoder, attention gates on the skip connections, and a residual decoder.

The paper (Jiang et al., 2022) published no code. The encoder is timm's, whose checkpoints load into `encoder`; widths
of the decoder and the gates' inner width are filled in: halves of each other from 256, and half of a skip's channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the gates' normalisation when training begins: unit deviations of the images at hand are far out in the logistic
# function's tails on others, where a gate is shut, learns nothing, and its few open places amplify rounding.
_HALF_OPEN = 0.25


class AttentionGate(nn.Module):
    """Weights a skip connection at every place by what it and the decoder say (Oktay et al., 2018)."""

    def __init__(self, skip: int, coarse: int) -> None:
        super().__init__()
        inner = max(skip // 2, 1)
        self.skip = nn.Sequential(nn.Conv2d(skip, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.coarse = nn.Sequential(nn.Conv2d(coarse, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())
        nn.init.constant_(self.psi[1].weight, _HALF_OPEN)

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Takes `[B, skip, H, W]` and `[B, coarse, H, W]`, returns the weighted skip and its weights `[B, 1, H, W]`."""
        weight = self.psi((self.skip(skip) + self.coarse(coarse)).relu())
        return skip * weight, weight


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a pointwise one; rectified after they are added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, inputs, H, W]`, returns `[B, outputs, H, W]`."""
        return (self.body(x) + self.shortcut(x)).relu()


class EARUNet(nn.Module):
    """A mask of an image whose sides are multiples of 32.

    Args:
        encoder: Gives maps at strides 2, 4, 8, 16 and 32.
        channels: Channels of these maps.
        widths: Of the decoder, from stride 16 to the image.
    """

    def __init__(
        self, encoder: nn.Module, channels: tuple[int, ...], widths: tuple[int, ...] = (256, 128, 64, 32, 16)
    ) -> None:
        super().__init__()
        self.encoder = encoder
        skips = (*channels[-2::-1], 0)
        inputs = (channels[-1], *widths[:-1])
        self.gates = nn.ModuleList(
            AttentionGate(skip, coarse) for skip, coarse in zip(skips[:-1], inputs[:-1], strict=True)
        )
        self.decoder = nn.ModuleList(ResidualBlock(a + b, c) for a, b, c in zip(inputs, skips, widths, strict=True))
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Takes `[B, 3, H, W]`.

        Returns:
            Scores of the mask, `[B, 1, H, W]`, positive inside (the logistic function gives the paper's output), and
            the gates' weights `[B, 1, h, w]` at strides 16, 8, 4 and 2.
        """
        maps = self.encoder(image)
        x, weights = maps[-1], []
        for gate, block, skip in zip(self.gates, self.decoder, maps[-2::-1], strict=False):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            kept, weight = gate(skip, x)
            weights.append(weight)
            x = block(torch.cat([x, kept], 1))
        x = self.decoder[-1](F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        return self.head(x), *weights
