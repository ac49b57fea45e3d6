"""The definition of `search_blocks`: HiP's own search."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.index import BlockIndex, compact
from neurokit.attention.pattern import Call
from neurokit.attention.patterns.hip import HiP


def slots(new: int, length: int, pattern: HiP) -> int:
    """Returns the blocks that a list holds at most: those of the search and of the window."""
    window = -(-pattern.window // pattern.block_k) + 1
    return min(pattern.count // pattern.block_k + window, -(-length // pattern.block_k))


def forward(q: Tensor, k: Tensor, pattern: HiP, one_list: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns counts `[B, H, Q]` and rising lists `[B, H, Q, slots]` of partial and of full blocks, int32."""
    wide = q.float() if q.dtype != torch.float64 else q
    table, sizes = pattern.blocks(Call(wide, k.to(wide.dtype), k)), (q.shape[2], k.shape[2])
    index = BlockIndex.from_blocks(table, *sizes, *pattern.tile, width=slots(*sizes, pattern))
    if one_list:
        num, idx = compact(index.blocks(), index.idx.shape[3])
        return num, idx, torch.zeros_like(num), idx[..., :0].clone()
    return index.num, index.idx, index.full_num, index.full_idx
