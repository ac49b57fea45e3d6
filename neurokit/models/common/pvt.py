"""Pyramid Vision Transformer v2 (Wang et al., CVMJ 2022), parameters named as in its public checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class PyramidSizes:
    """Sizes of the four stages.

    Attributes:
        widths: Channels, at strides 4, 8, 16 and 32.
        depths: Blocks.
        heads: Heads of the attention.
        ratios: Width of the feed-forward layer over the stage's.
        reductions: Stride at which keys and values are taken.
    """

    widths: tuple[int, int, int, int] = (32, 64, 160, 256)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    ratios: tuple[int, int, int, int] = (8, 8, 4, 4)
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)


B0 = PyramidSizes()
B2 = PyramidSizes((64, 128, 320, 512), (3, 4, 6, 3))
TINY = PyramidSizes((16, 16, 32, 32), (1, 1, 1, 1), (1, 2, 2, 4), (2, 2, 2, 2))


class PatchEmbedding(nn.Module):
    """Tokens from overlapping patches: a strided convolution and a layer normalisation."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        """Takes `[B, C, H, W]`, returns tokens `[B, H', W', width]`."""
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class ReducedAttention(nn.Module):
    """Attention of all tokens with keys and values from a coarser map."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        coarse = x
        if self.reduction > 1:
            coarse = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        q = self.q(x).flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(coarse).flatten(1, 2).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(y).unflatten(1, x.shape[1:3])


class Depthwise(nn.Module):
    """A depthwise 3x3 convolution over tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        return self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvFeedForward(nn.Module):
    """A feed-forward layer with a depthwise convolution before its GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.dwconv = Depthwise(inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class Block(nn.Module):
    """Attention and feed-forward, each normalised before and added."""

    def __init__(self, width: int, heads: int, ratio: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = ReducedAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = ConvFeedForward(width, ratio * width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PyramidTransformer(nn.Module):
    """Four stages, each half as fine as the one before."""

    def __init__(self, sizes: PyramidSizes = B0, channels: int = 3) -> None:
        super().__init__()
        inputs = (channels, *sizes.widths[:3])
        for index in range(4):
            width, kernel, stride = sizes.widths[index], (7, 3, 3, 3)[index], (4, 2, 2, 2)[index]
            blocks = [
                Block(width, sizes.heads[index], sizes.ratios[index], sizes.reductions[index])
                for _ in range(sizes.depths[index])
            ]
            self.add_module(f"patch_embed{index + 1}", PatchEmbedding(inputs[index], width, kernel, stride))
            self.add_module(f"block{index + 1}", nn.ModuleList(blocks))
            self.add_module(f"norm{index + 1}", nn.LayerNorm(width, eps=1e-6))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Takes `[B, C, H, W]`, returns maps `[B, width, H', W']` at strides 4, 8, 16 and 32."""
        maps = []
        for index in range(1, 5):
            x = self.get_submodule(f"patch_embed{index}")(image)
            for block in self.get_submodule(f"block{index}").children():
                x = block(x)
            image = self.get_submodule(f"norm{index}")(x).permute(0, 3, 1, 2)
            maps.append(image)
        return maps
