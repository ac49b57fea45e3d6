"""A decoder of structured awareness: guidance along axes, spatial, Fourier and wavelet branches, salient skips.

The paper (AAAI 2026) published no code. This follows its description of the three parts, ACFA, TFFA and SMMM; how they
are joined, their inner sizes and the encoder's weights are filled in, so it is faithful in form only.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.common.pvt import B2, PyramidSizes, PyramidTransformer

GUIDE = 8  # height and width of the learnt guidance maps


class AxisGuidance(nn.Module):
    """Channels enhanced, and places weighted by learnt maps: planar, along rows and along columns (ACFA)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter, inner = channels // 4, max(channels // 16, 4)
        self.mlp = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels))
        self.planar = nn.Parameter(torch.ones(1, quarter, GUIDE, GUIDE))
        self.horizontal = nn.Parameter(torch.ones(1, quarter, GUIDE, 1))
        self.vertical = nn.Parameter(torch.ones(1, quarter, 1, GUIDE))
        self.smooth = nn.ModuleList(nn.Conv2d(quarter, quarter, 3, padding=1, groups=quarter) for _ in range(4))
        self.norm = nn.LayerNorm(channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def guidances(self, sides: tuple[int, int]) -> list[Tensor]:
        """Returns the three maps, `[1, C / 4, H, W]`, in a size."""
        maps = (self.planar, self.horizontal, self.vertical)
        grown = [F.interpolate(m, size=sides, mode="bilinear", align_corners=False) for m in maps]
        return [smooth(m) for smooth, m in zip(self.smooth, grown, strict=False)]

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        weight = (self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))).sigmoid()
        planar, rows, columns, rest = x.chunk(4, 1)
        guides = self.guidances((x.shape[2], x.shape[3]))
        parts = [part * guide for part, guide in zip((planar, rows, columns), guides, strict=True)]
        joined = torch.cat([*parts, self.smooth[3](rest)], 1).permute(0, 2, 3, 1)
        return x * weight[:, :, None, None] + self.out(self.norm(joined).permute(0, 3, 1, 2))


class FourierBranch(nn.Module):
    """A learnt filter of the spectrum; the transforms are products with constants, which every runtime has.

    Attributes:
        weight: The filter's real and imaginary part, `[2, C, H, W // 2 + 1]`.
    """

    columns_cos: Tensor
    columns_sin: Tensor
    rows_cos: Tensor
    rows_sin: Tensor
    counted: Tensor

    def __init__(self, channels: int, sides: tuple[int, int]) -> None:
        super().__init__()
        height, width = sides
        kept = width // 2 + 1
        self.weight = nn.Parameter(
            torch.stack([torch.ones(channels, height, kept), torch.zeros(channels, height, kept)])
        )
        for name, rows, columns in (("columns", width, kept), ("rows", height, height)):
            turn = 2 * math.pi * torch.outer(torch.arange(rows).double(), torch.arange(columns).double()) / rows
            self.register_buffer(f"{name}_cos", (turn.cos() / math.sqrt(rows)).float(), persistent=False)
            self.register_buffer(f"{name}_sin", (-turn.sin() / math.sqrt(rows)).float(), persistent=False)
        counted = torch.full((kept,), 2.0)  # every frequency stands for its mirror image too
        counted[0] = 1.0
        if width % 2 == 0:
            counted[-1] = 1.0
        self.register_buffer("counted", counted, persistent=False)

    def spectrum(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Takes `[B, C, H, W]`, returns both parts of its orthonormal spectrum, `[B, C, H, W // 2 + 1]` each."""
        real, imaginary = x @ self.columns_cos, x @ self.columns_sin
        return (
            self.rows_cos @ real - self.rows_sin @ imaginary,
            self.rows_cos @ imaginary + self.rows_sin @ real,
        )

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Returns the image `[B, C, H, W]` of a spectrum."""
        in_rows = self.rows_cos @ real + self.rows_sin @ imaginary
        other = self.rows_cos @ imaginary - self.rows_sin @ real
        return (in_rows * self.counted) @ self.columns_cos.T + (other * self.counted) @ self.columns_sin.T

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        real, imaginary = self.spectrum(x)
        a, b = self.weight[0], self.weight[1]
        return self.inverse(real * a - imaginary * b, real * b + imaginary * a)


class Haar(nn.Module):
    """The orthonormal Haar transform as a convolution with a fixed kernel."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        bands = torch.tensor([[[1.0, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 2
        self.register_buffer("kernel", bands[:, None].repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, C, H, W]`, returns its four bands, `[B, 4 C, H / 2, W / 2]`."""
        return F.conv2d(x, self.kernel, stride=2, groups=self.channels)

    def inverse(self, bands: Tensor) -> Tensor:
        """Returns `[B, C, H, W]` of four bands."""
        return F.conv_transpose2d(bands, self.kernel, stride=2, groups=self.channels)


class WaveletBranch(nn.Module):
    """The four Haar bands, mixed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.haar = Haar(channels)
        self.mixed = nn.Conv2d(4 * channels, 4 * channels, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        return self.haar.inverse(self.mixed(self.haar(x)))


class ThreeBranches(nn.Module):
    """A spatial, a Fourier and a wavelet branch, weighted against each other (TFFA)."""

    def __init__(self, channels: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.fourier = FourierBranch(channels, sides)
        self.wavelet = WaveletBranch(channels)
        self.gate = nn.Linear(channels, 3)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        weight = self.gate(x.mean((2, 3))).softmax(1)
        branches = torch.stack([self.spatial(x), self.fourier(x), self.wavelet(x)], 1)
        return x + self.out((branches * weight[:, :, None, None, None]).sum(1))


class SalientSkip(nn.Module):
    """A skip connection seen at three scales and weighted by how salient each place is (SMMM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels) for side in (3, 5, 7)
        )
        self.mask = nn.Conv2d(2, 1, 1)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """Takes the skip and the decoder `[B, C, H, W]`, returns `[B, C, H, W]`."""
        context = self.scales[0](skip) + self.scales[1](skip) + self.scales[2](skip)
        pooled = torch.cat([context.mean(1, keepdim=True), context.amax(1, keepdim=True)], 1)
        return skip * self.mask(pooled).sigmoid() + x


class DSADecoder(nn.Module):
    """Segmentation of an image of one size.

    Args:
        side: Height and width of the image, a multiple of 32.
        sizes: Of the encoder, a Pyramid Vision Transformer.
        classes: Number of classes.
    """

    def __init__(self, side: int = 224, sizes: PyramidSizes = B2, classes: int = 9) -> None:
        super().__init__()
        self.encoder = PyramidTransformer(sizes)
        widths = sizes.widths
        self.coarse = AxisGuidance(widths[3])
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in (2, 1, 0))
        self.skips = nn.ModuleList(SalientSkip(widths[i]) for i in (2, 1, 0))
        self.branches = nn.ModuleList(ThreeBranches(widths[i], (side // 2 ** (i + 2),) * 2) for i in (2, 1, 0))
        self.guided = nn.ModuleList(AxisGuidance(widths[i]) for i in (2, 1, 0))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Takes `[B, 3, side, side]`, returns scores of the classes at every pixel, `[B, classes, side, side]`."""
        *skips, x = self.encoder(image)
        x = self.coarse(x)
        for index, skip in enumerate(reversed(skips)):
            x = F.interpolate(self.up[index](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.guided[index](self.branches[index](self.skips[index](skip, x)))
        return F.interpolate(self.head(x), scale_factor=4.0, mode="bilinear", align_corners=False)
