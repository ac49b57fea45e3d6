"""The operator `search_blocks` and its public function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurokit.attention.index import BlockIndex
from neurokit.attention.patterns.hip import HiP
from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.common.layout import power_of_two
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.search_blocks import reference

NAME = "search_blocks"
# Tiles of 128 keys were 7 % slower on an H200 at 65,536 keys.
DEFAULT = {"tile": 64, "num_warps": 4, "num_stages": 2}
MOST = 128  # chunks: what is kept in registers
WIDEST = 256


def _fake(
    q: Tensor, k: Tensor, count: int, block_q: int, block_k: int, window: int, one_list: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pattern = HiP(count, block_q, block_k, window)
    shape = (*q.shape[:2], -(-q.shape[2] // block_q))
    width = reference.slots(q.shape[2], k.shape[2], pattern)
    num, idx = q.new_empty(shape, dtype=torch.int32), q.new_empty((*shape, width), dtype=torch.int32)
    return num, idx, torch.empty_like(num), q.new_empty((*shape, 0 if one_list else width), dtype=torch.int32)


def _forward(
    q: Tensor, k: Tensor, count: int, block_q: int, block_k: int, window: int, one_list: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num, idx, full_num, full_idx = _fake(q, k, count, block_q, block_k, window, one_list)
    if num.numel() == 0:
        return num, idx, full_num, full_idx
    pattern = HiP(count, block_q, block_k, window)
    if not use_triton(NAME, q) or q.dtype == torch.float64:
        return reference.forward(q, k, pattern, one_list)
    from neurokit.kernels.search_blocks.triton import search_kernel

    new, length = q.shape[2], k.shape[2]
    launch(search_kernel)[(num.shape[2], q.shape[1], q.shape[0])](
        *(q, k, num, idx, full_num, full_idx),
        *(new, length, q.shape[1], k.shape[1], num.shape[2], idx.shape[3]),
        **_constants(q, pattern),
        SLOTS=power_of_two(idx.shape[3]),
        ONE_LIST=one_list,
        BOUND=max(pattern.rounds(length), 1) if INTERPRET else 0,
    )
    return num, idx, full_num, full_idx


def _constants(q: Tensor, pattern: HiP) -> dict[str, Any]:
    kept, block = pattern.count // pattern.block_k, pattern.block_k
    chosen = config.lookup(NAME, (kept, pattern.block_q, block, q.shape[3]), q.device, DEFAULT)
    padded = max(2, power_of_two(kept), 16 // block)
    narrow = q.dtype == torch.float32 or q.shape[3] > 128  # needs twice the room
    tile = max(block, 16, chosen["tile"] // 4 if narrow else chosen["tile"])
    return {
        "COUNT": pattern.count,
        "BLOCK_Q": pattern.block_q,
        "BLOCK_K": block,
        "WINDOW": pattern.window,
        "NW": power_of_two(-(-pattern.window // block) + 1),
        "W": kept,
        "WP": padded,
        "M": max(16, power_of_two(max(pattern.block_q // 2, 1))),
        "N": min(tile, padded * block),
        "D": q.shape[3],
        "DP": max(16, power_of_two(q.shape[3])),
        "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",
        "num_warps": chosen["num_warps"],
        "num_stages": chosen["num_stages"],
    }


search_blocks_op = register_op(NAME, _fake)(_forward)


def takes(pattern: HiP) -> bool:
    """Returns whether the kernel searches with these settings."""
    sizes = {1 << n for n in range(8)}
    kept = pattern.count // pattern.block_k
    return pattern.block_q in sizes and pattern.block_k in sizes and kept <= MOST and pattern.window <= 4096


def search_blocks(q: Tensor, k: Tensor, pattern: HiP) -> BlockIndex:
    """Lists for every block of queries the blocks of keys that HiP's search keeps, and its window. Inference only.

    Args:
        q: Queries `[B, H, S, D]`, the last of the text.
        k: Keys `[B, Hk, T, D]`, of q's type.
        pattern: The settings: blocks of 1 to 128 queries and keys, powers of two, at most 128 blocks kept. Its
            `longest`, a matter of graphs, is not read.

    Returns:
        The set, a list a query head; of one query all blocks are in the list of partial ones, as `sparse_decode`
        reads them.

    Raises:
        InputError: If shapes, types or settings do not fit.
    """
    whole = q.dim() == 4 and k.dim() == 4 and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
    if not whole or k.shape[1] < 1 or q.shape[1] % k.shape[1] or q.dtype != k.dtype or q.shape[2] > k.shape[2]:
        raise InputError(
            f"queries are {q.dtype} {list(q.shape)}, keys {k.dtype} {list(k.shape)}",
            expected="[B, H, S, D] and [B, Hk, T, D] of one type, H a multiple of Hk, S at most T",
        )
    if not takes(pattern) or q.shape[3] > WIDEST:
        raise InputError(
            f"count={pattern.count}, block_q={pattern.block_q}, block_k={pattern.block_k}, width {q.shape[3]}",
            expected=f"blocks of powers of two up to 128, at most {MOST} blocks kept, width at most {WIDEST}",
            fix="pattern.select(call)",
        )
    num, idx, full_num, full_idx = torch.ops.neurokit_kernels.search_blocks(
        q.contiguous(), k.contiguous(), pattern.count, pattern.block_q, pattern.block_k, pattern.window, q.shape[2] == 1
    )
    return BlockIndex(num, idx, full_num, full_idx, q.shape[2], k.shape[2], pattern.block_q, pattern.block_k)
