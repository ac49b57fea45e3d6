"""Attention within shifted windows whose maps can be taken out and added in (Swin, Liu et al., ICCV 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rolled(x: Tensor, shift: int) -> Tensor:
    """Returns `[B, H, W, C]` moved cyclically by `shift` along both sides: slices and joins, for small graphs."""
    if shift == 0:
        return x
    for axis in (1, 2):
        first = x.shape[axis] - shift if shift > 0 else -shift
        x = torch.cat([x.narrow(axis, first, x.shape[axis] - first), x.narrow(axis, 0, first)], axis)
    return x


def windows(x: Tensor, size: int) -> Tensor:
    """Returns the windows `[B n, size size, C]` of `[B, H, W, C]`, row by row."""
    parts = x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3)
    return parts.flatten(3, 4).flatten(0, 2)


def unwindowed(x: Tensor, size: int, sides: tuple[int, int]) -> Tensor:
    """Returns `[B, H, W, C]` of its windows."""
    rows, columns = sides[0] // size, sides[1] // size
    parts = x.unflatten(1, (size, size)).unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return parts.flatten(3, 4).flatten(1, 2)


def regions(sides: tuple[int, int], size: int, shift: int) -> Tensor:
    """Returns, for each window of a shifted map, what region each place was in before: `[n, size size]`."""
    number = torch.zeros(1, *sides, 1)
    for row, rows in enumerate((slice(0, -size), slice(-size, -shift), slice(-shift, None))):
        for column, columns in enumerate((slice(0, -size), slice(-size, -shift), slice(-shift, None))):
            number[:, rows, columns] = 3 * row + column
    return windows(number, size)[..., 0]


def relative(size: int) -> Tensor:
    """Returns the row of the table of biases for every pair of places of a window, `[size size, size size]`."""
    places = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    distance = places[:, None] - places[None] + size - 1
    return distance[..., 0] * (2 * size - 1) + distance[..., 1]


class WindowAttention(nn.Module):
    """Attention of all places of a window with all, biased by their distance."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * size - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative(size))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None, added: Tensor | None) -> tuple[Tensor, Tensor]:
        """Takes windows `[B n, N, width]`, a mask `[n, N, N]` and another map that is added to the own.

        Returns:
            What it gives, `[B n, N, width]`, and its own map `[B n, heads, N, N]`.
        """
        n = x.shape[1]
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(2, 3) + bias.unflatten(0, (n, n)).permute(2, 0, 1)
        if mask is not None:
            scores = (scores.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        weights = scores.softmax(3)
        # The public code adds the encoder's map after the decoder's was used, where it changes nothing.
        used = weights if added is None else weights + added
        return self.proj((used @ v).transpose(1, 2).flatten(2)), weights


class SwinBlock(nn.Module):
    """Attention within windows and a feed-forward layer, each normalised before and added."""

    attn_mask: Tensor | None

    def __init__(self, width: int, heads: int, side: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.size = min(window, side)
        self.shift = window // 2 if shifted and side > window else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, self.size)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        mask = None
        if self.shift:
            number = regions((side, side), self.size, self.shift)
            mask = (number[:, None] != number[:, :, None]) * -100.0
        self.register_buffer("attn_mask", mask)

    def forward(self, x: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Takes `[B, H, W, width]` and a map that is added to its own, returns the same and its own map."""
        sides = (x.shape[1], x.shape[2])
        parts = windows(rolled(self.norm1(x), -self.shift), self.size)
        y, weights = self.attn(parts, self.attn_mask, added)
        x = x + rolled(unwindowed(y, self.size, sides), self.shift)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))), weights
