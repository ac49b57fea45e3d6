"""The parts of MACMD: dilated convolutions, gates, attention over levels, channel mixing with shifted neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (1, 2, 3, 5)


class DilatedConv(nn.Module):
    """Four grouped 3x3 convolutions of growing dilation whose quarters are summed along diagonals."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for index, dilation in enumerate(DILATIONS, start=1):
            conv = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=4)
            self.add_module(f"dilation_{index}", conv)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        quarters = [conv(x).chunk(4, 1) for conv in self.children()]
        sums = [sum(quarters[d][(j + d) % 4] for d in range(1, 4)) + quarters[0][j] for j in range(4)]
        return torch.cat(sums, 1)


class Gate(nn.Module):
    """A level weighted at every place by what it says itself.

    The public code rectifies in place, so what is weighted is the rectified map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.W_g = nn.Sequential(DilatedConv(channels), nn.BatchNorm2d(channels))
        self.psi = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        g = self.W_g(x).relu()
        return g * self.psi(g)


class ChannelAttention(nn.Module):
    """Channels weighted by what their means say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 16, 1)
        self.fc = nn.Sequential(
            nn.Linear(channels, inner, bias=False), nn.ReLU(), nn.Linear(inner, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class SpatialAttention(nn.Module):
    """Places weighted by a convolution of the mean and the maximum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        return x * self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()


class Bottleneck(nn.Module):
    """Two dilated convolutions, then attention over channels and over places (the paper's MEAB)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [DilatedConv(channels), nn.BatchNorm2d(channels), nn.ReLU()]
        self.conv = nn.ModuleDict({"conv": nn.Sequential(*layers)})
        self.ca = ChannelAttention(channels)
        self.sa = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        return self.sa(self.ca(self.conv["conv"](x)))


class Upsampled(nn.Module):
    """A map brought to a finer grid: nearest neighbours, a depthwise and a pointwise convolution."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, C, H, W]`, returns `[B, C, factor H, factor W]`."""
        return self.block(F.interpolate(x, scale_factor=float(self.factor), mode="nearest"))


class LevelAttention(nn.Module):
    """All levels on the finest grid, pooled by attention over levels at every place (the paper's APM).

    The public code makes the upsampling blocks anew in every call; here they are layers, `up_blocks.1` to `3`.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        c = widths[0]
        self.channel_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, c, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()) for width in widths
        )
        self.up_blocks = nn.ModuleList([nn.Identity(), *(Upsampled(c, 2**index) for index in (1, 2, 3))])
        inner = max(c // 8, 1)
        self.attention_proj = nn.Sequential(nn.Conv2d(c, inner, 1), nn.ReLU(), nn.Conv2d(inner, 1, 1))
        self.modulation_proj = nn.Sequential(nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c), nn.Sigmoid())

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Takes the levels, finest first, returns `[B, C of the finest, H, W]`."""
        maps = [up(proj(x)) for up, proj, x in zip(self.up_blocks, self.channel_proj, levels, strict=True)]
        weights = torch.cat([self.attention_proj(x) for x in maps], 1).softmax(1)
        pooled = sum(x * weights[:, index, None] for index, x in enumerate(maps))
        pooled = pooled * torch.sigmoid(pooled)
        modulated = [self.modulation_proj(x.sigmoid() * pooled * x) * x for x in maps]
        return sum(modulated[1:], modulated[0]) / len(modulated)


class ShiftedMixing(nn.Module):
    """Channel mixing of Vision-RWKV: a quarter of the channels from each of the four neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial_mix_k = nn.Parameter(torch.full((1, 1, width), 0.5))
        self.spatial_mix_r = nn.Parameter(torch.full((1, 1, width), 0.5))
        self.key = nn.Linear(width, 2 * width, bias=False)
        self.key_norm = nn.LayerNorm(2 * width)
        self.receptance = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        neighbours = shifted(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        mixed_k = x * self.spatial_mix_k + neighbours * (1 - self.spatial_mix_k)
        mixed_r = x * self.spatial_mix_r + neighbours * (1 - self.spatial_mix_r)
        key = self.key_norm(self.key(mixed_k).relu().square())
        return self.receptance(mixed_r).sigmoid() * self.value(key)


def shifted(x: Tensor) -> Tensor:
    """Returns `[B, C, H, W]` with each quarter of the channels moved one pixel: right, left, down and up."""
    right, left, down, up = x.chunk(4, 1)
    moved = [
        F.pad(right[..., :-1], (1, 0)),
        F.pad(left[..., 1:], (0, 1)),
        F.pad(down[..., :-1, :], (0, 0, 1, 0)),
        F.pad(up[..., 1:, :], (0, 0, 0, 1)),
    ]
    return torch.cat(moved, 1)


class LevelMixing(nn.Module):
    """Three levels mixed on the finest grid and given back in their sizes (the paper's MSCCM)."""

    def __init__(self, widths: tuple[int, int, int], inner: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(width, inner, 1) for width in widths)
        self.ln1 = nn.LayerNorm(3 * inner)
        self.channel = ShiftedMixing(3 * inner)
        self.final_projections = nn.ModuleList(nn.Conv2d(inner, width, 1) for width in widths)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Takes and returns three levels `[B, C, H, W]`, coarsest first."""
        factors = [2.0 ** (len(levels) - 1 - index) for index in range(len(levels))]
        # Bilinear weights add up to 1, so projecting before resizing is the published order of less work.
        fine = [resized(conv(x), factor) for conv, x, factor in zip(self.projections, levels, factors, strict=True)]
        tokens = torch.cat(fine, 1).permute(0, 2, 3, 1)
        tokens = tokens + self.ln1(self.channel(tokens))
        parts = tokens.permute(0, 3, 1, 2).chunk(3, 1)
        back = zip(self.final_projections, parts, factors, strict=True)
        return [conv(resized(part, 1 / factor)) for conv, part, factor in back]


def resized(x: Tensor, factor: float) -> Tensor:
    """Returns `[B, C, H, W]` resized bilinearly by a factor."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
