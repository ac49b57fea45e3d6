"""The definition of `select_blocks`: the blocks of largest worth before a query's own."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.choose import largest_mask

_ROWS = 1024  # queries at a time: scores are [heads, queries, blocks]


def worth(q: Tensor, means: Tensor, scale: float, block: int, offset: int) -> Tensor:
    """Returns what each block is worth to each query, `[B, Hk, S, N]`, minus infinity from its own on; in q's type."""
    batch, heads, new, width = q.shape
    groups, blocks = means.shape[1], means.shape[2]
    grouped = q.view(batch, groups, heads // groups, new, width)
    scores = torch.einsum("bgrsd,bgnd->bgrsn", grouped, means.to(q.dtype)) * scale
    place = offset + torch.arange(new, device=q.device)[:, None]
    index = torch.arange(blocks, device=q.device)
    lse = scores.masked_fill(index >= (place + 1) // block, float("-inf")).logsumexp(-1, keepdim=True)
    found = (scores - lse.masked_fill(lse == float("-inf"), 0.0)).exp().sum(2)
    return found.masked_fill(index >= place // block, float("-inf"))


def forward(q: Tensor, means: Tensor, scale: float, block: int, count: int, offset: int) -> tuple[Tensor, Tensor]:
    """Returns counts `[B, Hk, S]` and rising block numbers `[B, Hk, S, count]`, int32; 0 behind a row's count."""
    parts = [
        _some(q[:, :, at : at + _ROWS].float(), means.float(), scale, block, count, offset + at)
        for at in range(0, q.shape[2], _ROWS)
    ]
    num, idx = zip(*parts, strict=True)
    return torch.cat(num, 2), torch.cat(idx, 2)


def _some(q: Tensor, means: Tensor, scale: float, block: int, count: int, offset: int) -> tuple[Tensor, Tensor]:
    found = worth(q, means, scale, block, offset)
    index = torch.arange(found.shape[3], device=q.device)
    place = offset + torch.arange(q.shape[2], device=q.device)[:, None]
    chosen = torch.logical_or(largest_mask(found, count - 1), index == place // block)
    num = chosen.sum(-1).to(torch.int32)
    listed = torch.where(chosen, index, len(index)).sort(-1).values[..., :count]
    idx = listed.new_zeros((*listed.shape[:-1], count))
    idx[..., : listed.shape[3]] = torch.where(listed < len(index), listed, 0)
    return num, idx.to(torch.int32)
