"""What a pattern selects, by a kernel where there is one for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.index import BlockIndex
from neurokit.attention.pattern import AttentionPattern, Call
from neurokit.attention.patterns.hip import HiP
from neurokit.attention.patterns.ssa import SSA
from neurokit.attention.tokens import TokenSet
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.search_blocks.op import search_blocks, takes
from neurokit.kernels.select_blocks.op import MOST, select_blocks


def selected(pattern: AttentionPattern, call: Call) -> BlockIndex | TokenSet:
    """Returns what a pattern selects for a call without padding; the set is `pattern.select`'s.

    SSA's scores are those of one query with every block: on a GPU they stay in registers (`select_blocks`), where the
    definition writes and sorts them. HiP's rounds stay there too (`search_blocks`).
    """
    causal = call.causal and call.plain
    if isinstance(pattern, SSA) and causal and pattern.count <= MOST and use_triton("select_blocks", call.q):
        return by_mean_key(call.q, call.k, pattern.block, pattern.count, call.scale)
    if isinstance(pattern, HiP) and causal and takes(pattern) and use_triton("search_blocks", call.q):
        return search_blocks(call.q, call.k, pattern)
    return pattern.select(call)


def by_mean_key(q: Tensor, k: Tensor, block: int, count: int, scale: float | None = None) -> BlockIndex:
    """Returns SSA's set, one query a block of queries.

    Args:
        q: Queries `[B, H, S, D]`, the last of the text.
        k: Keys `[B, Hk, T, D]`.
        block: Keys a block.
        count: Blocks a query, its own included.
        scale: Factor of the products; default is D^-0.5.
    """
    new, length = q.shape[2], k.shape[2]
    blocks = -(-length // block)
    whole = F.pad(k, (0, 0, 0, blocks * block - length))
    means = whole.unflatten(2, (blocks, block)).mean(3, dtype=torch.float32).to(k.dtype)
    num, idx = select_blocks(q, means, block=block, count=count, scale=scale, offset=length - new)
    # Its own block is partial at the diagonal; the kernel of attention masks there, so all may be listed as partial.
    none = torch.zeros_like(num)
    return BlockIndex(num, idx, none, idx[..., :1] * 0, new, length, 1, block)
