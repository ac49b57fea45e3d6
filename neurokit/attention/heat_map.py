"""Heat maps of a text over an image, read off joint attention, and what is found on them; faithful in form to RefAM."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def heat_map(weights: Tensor, content: Tensor, text: int, kappa: float, deep: int) -> Tensor:
    """Returns how much the words of content look at each image token `[B, N]`.

    The mean over blocks, heads and words of content of A[word, token]; tokens that receive more than kappa times the
    median, in the mean over all rows of the deep blocks, are global sinks and get 0. Without stop words and sinks it is
    the plain average.

    Args:
        weights: A `[B, blocks, H, L + N, L + N]`, text first.
        content: 1 for words of content, 0 for stop words and appended magnets `[B, L]`.
        text: Number of text tokens L.
        kappa: Factor of the median above which a token is a sink.
        deep: Number of the first deep block.
    """
    maps = weights[:, :, :, :text, text:].mean((1, 2))  # [B, L, N]
    rows = content.to(maps.dtype)[:, None]
    heat = (rows @ maps)[:, 0] / rows.sum(-1).clamp_min(1)
    received = weights[:, deep:, :, :, text:].mean((1, 2, 3))
    ranked = torch.sort(received, dim=-1, stable=True).values
    count = ranked.shape[-1]
    median = (ranked[:, (count - 1) // 2] + ranked[:, count // 2])[:, None] / 2
    return torch.where(received > kappa * median, heat.new_zeros(()), heat)


def point(heat: np.ndarray, side: int) -> tuple[int, int]:
    """Returns row and column of the largest entry of a map `[N]` of `side` columns, of equal ones the first."""
    at = int(np.argmax(heat))
    return at // side, at % side


def proposal(heat: np.ndarray, side: int, threshold: float = 0.5) -> np.ndarray:
    """Returns a mask `[rows, side]`: the largest connected part of what reaches a share of the map's largest entry.

    Neighbours are those above, below, left and right; of equally large parts the first is taken.

    Args:
        heat: Map `[N]`.
        side: Columns.
        threshold: Share of the largest entry, 0 to 1.
    """
    above = (heat >= threshold * heat.max()).reshape(-1, side)
    best, seen = np.zeros_like(above), np.zeros_like(above)
    for start in zip(*np.nonzero(above), strict=True):
        if seen[start]:
            continue
        part, waiting = np.zeros_like(above), [start]
        while waiting:
            row, column = waiting.pop()
            inside = 0 <= row < above.shape[0] and 0 <= column < side
            if not inside or part[row, column] or not above[row, column]:
                continue
            part[row, column] = True
            waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
        seen |= part
        if part.sum() > best.sum():
            best = part
    return best
