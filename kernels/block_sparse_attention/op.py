"""The operators `block_sparse_attention` and its backward, and the public function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurokit.attention.definition import check_shapes
from neurokit.attention.index import BlockIndex
from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.block_sparse_attention import reference
from neurokit.kernels.dispatch import use_triton

NAME = "block_sparse_attention"
# Two stages of tiles and the queries fit into 99 KiB, the least that a GPU from compute capability 8.0 on has.
# "ahead": whether the number of the next block is loaded a round before it is needed.
DEFAULT = {"rows": 128, "tile": 64, "num_warps": 8, "num_stages": 2, "ahead": 1}
# One query a block: few rows, where small tiles by two warps were fastest on an H200.
DEFAULT_NARROW = {**DEFAULT, "tile": 32, "num_warps": 2}
DEFAULT_BACKWARD = {"rows": 64, "tile": 64, "num_warps": 4, "num_stages": 2}
WIDEST = 256
# Rows from which Hopper multiplies a warp group at a time.
WIDE_PRODUCT = 64


@dataclass(frozen=True)
class Shape:
    """How a call is cut into programs.

    Attributes:
        pack: Heads of a group that one program takes.
        rows: Rows of its tile, a power of two.
        mode: Whose row of the tables it reads: one for all (0), a key head's (1), a query head's (2).
        constants: Compile-time sizes.
    """

    pack: int
    rows: int
    mode: int
    constants: dict[str, Any]


def shape_of(
    q: Tensor, k: Tensor, v: Tensor, num: Tensor, block_q: int, block_k: int, causal: bool, rows: int
) -> Shape:
    """Returns how a call is cut: as many heads of a group a program as share their lists and fit into `rows` rows."""
    heads, groups, listed = q.shape[1], k.shape[1], num.shape[1]
    mode = 0 if listed == 1 else 1 if listed == groups else 2
    pack = 1
    while mode < 2 and (heads // groups) % (2 * pack) == 0 and 2 * pack * block_q <= rows:
        pack *= 2
    return Shape(
        pack,
        max(16, block_q * pack),
        mode,
        {
            "D": q.shape[3],
            "DP": max(16, 1 << (q.shape[3] - 1).bit_length()),
            "DV": v.shape[3],
            "DVP": max(16, 1 << (v.shape[3] - 1).bit_length()),
            "BLOCK_Q": block_q,
            "BLOCK_K": block_k,
            "PACK": pack,
            "M": max(16, block_q * pack),
            "MODE": mode,
            "CAUSAL": causal,
            "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",
        },
    )


def _fake(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    num: Tensor,
    idx: Tensor,
    full_num: Tensor,
    full_idx: Tensor,
    key_bias: Tensor | None,
    scale: float,
    block_q: int,
    block_k: int,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    return q.new_empty((*q.shape[:3], v.shape[3])), q.new_empty(q.shape[:3], dtype=torch.float32)


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    num: Tensor,
    idx: Tensor,
    full_num: Tensor,
    full_idx: Tensor,
    key_bias: Tensor | None,
    scale: float,
    block_q: int,
    block_k: int,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    out, lse = _fake(q, k, v, num, idx, full_num, full_idx, key_bias, scale, block_q, block_k, causal)
    if out.numel() == 0:
        return out, lse
    if not use_triton(NAME, q) or q.dtype == torch.float64:
        index = BlockIndex(num, idx, full_num, full_idx, q.shape[2], k.shape[2], block_q, block_k, causal)
        exact, total = reference.forward(q, k, v, index, key_bias, scale)
        return out.copy_(exact), lse.copy_(total)
    from neurokit.kernels.block_sparse_attention.triton import forward_kernel

    narrow = shape_of(q, k, v, num, block_q, block_k, causal, DEFAULT["rows"]).rows < WIDE_PRODUCT
    usual = default(q, DEFAULT_NARROW if narrow else DEFAULT)
    chosen = config.lookup(NAME, (block_q, block_k, q.shape[3], q.dtype.itemsize), q.device, usual)
    cut = shape_of(q, k, v, num, block_q, block_k, causal, chosen["rows"])
    tile = tile_of(cut, chosen["tile"])
    launch(forward_kernel)[(num.shape[2], q.shape[1] // cut.pack, q.shape[0])](
        *_given(q, k, v, num, idx, full_num, full_idx, key_bias),
        out,
        lse,
        *_sizes(q, k, num, scale, idx, full_idx),
        BOUND=_bound(idx, block_k, tile),
        FULL_BOUND=_bound(full_idx, block_k, tile),
        TILE=tile,
        BIAS=key_bias is not None,
        RAW=key_bias is None and scale > 0,
        AHEAD=bool(chosen["ahead"]) and tile <= block_k,
        num_warps=min(chosen["num_warps"], max(4, cut.rows // 16)),
        num_stages=chosen["num_stages"],
        **cut.constants,
    )
    return out, lse


def default(q: Tensor, parameters: dict[str, int]) -> dict[str, int]:
    """Returns launch parameters that fit: float32, and heads wider than 128, need twice the room."""
    if q.dtype == torch.float32 or q.shape[3] > 128:
        return {**parameters, "rows": 64, "tile": 32, "num_stages": 1}
    return parameters


def tile_of(cut: Shape, wanted: int) -> int:
    """Returns the keys of a tile: part of a block, or several, those only where rows are too few for wide products."""
    block = cut.constants["BLOCK_K"]
    return max(block, wanted) if cut.rows < WIDE_PRODUCT else min(block, wanted)


def _given(
    q: Tensor, k: Tensor, v: Tensor, num: Tensor, idx: Tensor, full_num: Tensor, full_idx: Tensor, bias: Tensor | None
) -> tuple[Tensor, ...]:
    return q, k, v, num, idx, full_num, full_idx, q if bias is None else bias


def _sizes(q: Tensor, k: Tensor, num: Tensor, scale: float, *tables: Tensor) -> tuple[Any, ...]:
    widths = [table.shape[3] for table in tables]
    return q.shape[2], k.shape[2], q.shape[1], k.shape[1], num.shape[2], scale, *widths


def _bound(idx: Tensor, block_k: int, tile: int) -> int:
    """Returns the rounds of a list for the interpreter, which needs a constant; 0 on a GPU, which reads the count."""
    return -(-idx.shape[3] * block_k // tile) if INTERPRET else 0


block_sparse_attention_op = register_op(NAME, _fake)(_forward)


def check(q: Tensor, k: Tensor, v: Tensor, index: BlockIndex, key_bias: Tensor | None) -> None:
    """Refuses what the kernel does not compute.

    Raises:
        InputError: If shapes, types or block sizes do not fit.
    """
    check_shapes(q, k, v)
    if q.dtype != k.dtype or q.dtype != v.dtype or not q.is_floating_point():
        raise InputError(f"q, k, v are {q.dtype}, {k.dtype}, {v.dtype}", expected="one floating-point type")
    if max(q.shape[3], v.shape[3]) > WIDEST:
        raise InputError(f"heads of width {max(q.shape[3], v.shape[3])}", expected=f"at most {WIDEST}")
    sizes = {1 << n for n in range(8)}
    if index.block_q not in sizes or index.block_k not in sizes or index.block_k < 16:
        raise InputError(
            f"blocks of {index.block_q} queries and {index.block_k} keys",
            expected="powers of two, 1 to 128 queries, 16 to 128 keys",
        )
    wanted = (q.shape[2], k.shape[2])
    if (index.q_len, index.kv_len) != wanted or index.num.shape[0] not in (1, q.shape[0]):
        raise InputError(
            f"an index of {index.q_len} queries, {index.kv_len} keys, batch {index.num.shape[0]}",
            expected=f"{wanted[0]}, {wanted[1]}, {q.shape[0]}",
        )
    if index.num.shape[1] not in (1, k.shape[1], q.shape[1]):
        raise InputError(f"an index of {index.num.shape[1]} heads", expected=f"1, {k.shape[1]} or {q.shape[1]}")
    if key_bias is not None and key_bias.shape != k.shape[:3]:
        raise InputError(f"key_bias is {list(key_bias.shape)}", expected=f"{list(k.shape[:3])}")


def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: BlockIndex,
    *,
    key_bias: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention to the key blocks that an index lists, accumulated in float32; differentiable.

    Args:
        q: Queries `[B, H, S, D]`, float32, float16 or bfloat16; D and Dv up to 256.
        k: Keys `[B, Hk, T, D]`.
        v: Values `[B, Hk, T, Dv]`.
        index: Blocks of 1 to 128 queries and 16 to 128 keys; its heads are 1, Hk or H.
        key_bias: What is added to scores `[B, Hk, T]`; its gradient is float32.
        scale: Factor of the products; default is D^-0.5.

    Returns:
        Outputs `[B, H, S, Dv]` of the queries' type, 0 where a query sees nothing, and the log-sum-exp `[B, H, S]`
        in float32, minus infinity there.

    Raises:
        InputError: If shapes, types or block sizes do not fit.
    """
    check(q, k, v, index, key_bias)
    tables = [index.num, index.idx, index.full_num, index.full_idx]
    if index.num.shape[0] != q.shape[0]:
        tables = [x.expand(q.shape[0], *x.shape[1:]) for x in tables]
    bias = None if key_bias is None else key_bias.float().contiguous()
    return torch.ops.neurokit_kernels.block_sparse_attention(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        *(x.contiguous() for x in tables),
        bias,
        q.shape[3] ** -0.5 if scale is None else scale,
        index.block_q,
        index.block_k,
        index.causal,
    )
