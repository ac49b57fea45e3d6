"""The operator `select_blocks` and its public function."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.common.layout import power_of_two
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.select_blocks import reference

NAME = "select_blocks"
DEFAULT = {"rows": 64, "tile": 64, "num_warps": 4, "num_stages": 3}
MOST = 128  # blocks a query: what is kept in registers


def _fake(q: Tensor, means: Tensor, scale: float, block: int, count: int, offset: int) -> tuple[Tensor, Tensor]:
    shape = (q.shape[0], means.shape[1], q.shape[2])
    return q.new_empty(shape, dtype=torch.int32), q.new_empty((*shape, count), dtype=torch.int32)


def _forward(q: Tensor, means: Tensor, scale: float, block: int, count: int, offset: int) -> tuple[Tensor, Tensor]:
    num, idx = _fake(q, means, scale, block, count, offset)
    if q.numel() == 0 or num.numel() == 0:
        return num.zero_(), idx.zero_()
    if not use_triton(NAME, q):
        return reference.forward(q, means, scale, block, count, offset)
    from neurokit.kernels.select_blocks.triton import select_kernel

    group = q.shape[1] // means.shape[1]
    chosen = config.lookup(NAME, (block, count, q.shape[3], group), q.device, DEFAULT)
    rows = power_of_two(group)
    queries = max(1, chosen["rows"] // rows, -(-16 // rows))
    kept = max(2, power_of_two(count))
    tile = max(chosen["tile"], kept, 16)
    launch(select_kernel)[(-(-q.shape[2] // queries), means.shape[1], q.shape[0])](
        q,
        means,
        num,
        idx,
        q.shape[2],
        q.shape[1],
        means.shape[1],
        means.shape[2],
        offset,
        scale / math.log(2.0),
        D=q.shape[3],
        DP=max(16, power_of_two(q.shape[3])),
        BLOCK=block,
        COUNT=count,
        KP=kept,
        QUERIES=queries,
        R=group,
        RP=rows,
        N=tile,
        PRECISE=q.dtype == torch.float32,
        BOUND=-(-means.shape[2] // tile) if INTERPRET else 0,
        LAST=2**31 - 1,
        num_warps=chosen["num_warps"],
        num_stages=chosen["num_stages"],
    )
    return num, idx


select_blocks_op = register_op(NAME, _fake)(_forward)


def select_blocks(
    q: Tensor, means: Tensor, *, block: int, count: int, scale: float | None = None, offset: int = 0
) -> tuple[Tensor, Tensor]:
    """Lists for every query its own block of keys and the blocks before it that matter most (SSA). Inference only.

    Args:
        q: Queries `[B, H, S, D]`, at the places `offset` to `offset + S - 1` of the text.
        means: Mean key of each block `[B, Hk, N, D]`, of q's type; N blocks hold all places.
        block: Keys a block.
        count: Blocks a query at most, its own included; 1 to 128.
        scale: Factor of the products; default is D^-0.5.
        offset: Place of the first query.

    Returns:
        How many blocks each query has, int32 `[B, Hk, S]`, and which, rising, int32 `[B, Hk, S, count]`; 0 behind a
        row's count.

    Raises:
        InputError: If shapes, types or numbers do not fit.
    """
    whole = q.dim() == 4 and means.dim() == 4 and q.shape[0] == means.shape[0] and q.shape[3] == means.shape[3]
    if not whole or means.shape[1] < 1 or q.shape[1] % means.shape[1] or q.dtype != means.dtype:
        raise InputError(
            f"queries are {q.dtype} {list(q.shape)}, means {means.dtype} {list(means.shape)}",
            expected="[B, H, S, D] and [B, Hk, N, D] of one type, H a multiple of Hk",
        )
    if block < 1 or not 1 <= count <= MOST or offset < 0:
        raise InputError(
            f"block={block}, count={count}, offset={offset}", expected=f"at least 1, 1 to {MOST}, at least 0"
        )
    if means.shape[2] * block < offset + q.shape[2]:
        raise InputError(
            f"{means.shape[2]} blocks of {block} keys for {offset + q.shape[2]} places",
            expected="blocks for all places",
        )
    factor = q.shape[3] ** -0.5 if scale is None else scale
    num, idx = torch.ops.neurokit_kernels.select_blocks(
        q.contiguous(), means.contiguous(), factor, block, count, offset
    )
    return num, idx
