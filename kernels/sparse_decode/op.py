"""The operator `sparse_decode` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.index import BlockIndex, compact
from neurokit.attention.tokens import TokenSet
from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.sparse_decode import reference

NAME = "sparse_decode"
# Tiles of 128 were 5 % faster on an H200, and do not fit into 99 KiB.
DEFAULT = {"tile": 64, "programs": 4, "num_warps": 4, "num_stages": 2}
# More parts than this cost more in their merge than they gain.
MOST_SPLITS = 128


def _fake(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    idx: Tensor,
    num: Tensor,
    key_bias: Tensor | None,
    scale: float,
    block: int,
    scores: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    width = idx.shape[2] * block if scores else 0
    listed = q.new_empty((*q.shape[:2], width), dtype=torch.float32)
    return q.new_empty((*q.shape[:2], v.shape[3])), q.new_empty(q.shape[:2], dtype=torch.float32), listed


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    idx: Tensor,
    num: Tensor,
    key_bias: Tensor | None,
    scale: float,
    block: int,
    scores: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    out, lse, listed = _fake(q, k, v, idx, num, key_bias, scale, block, scores)
    if out.numel() == 0:
        return out, lse, listed
    if not use_triton(NAME, q) or q.dtype == torch.float64:
        exact, total, each = reference.forward(q, k, v, idx, num, key_bias, scale, block)
        if scores:
            listed.copy_(each)
        return out.copy_(exact), lse.copy_(total), listed
    from neurokit.kernels.sparse_decode.triton import merge_kernel, part_kernel

    chosen = config.lookup(NAME, (q.shape[1], k.shape[1], q.shape[2], block), q.device, DEFAULT)
    splits, rounds = _splits(q, idx, block, chosen)
    batch, heads, width = q.shape
    group, padded = heads // idx.shape[1], max(16, 1 << (v.shape[3] - 1).bit_length())
    parts = torch.empty((batch * heads, splits, v.shape[3]), dtype=torch.float32, device=q.device)
    lses = torch.empty((batch * heads, splits), dtype=torch.float32, device=q.device)
    launch(part_kernel)[(splits, idx.shape[1], batch)](
        q,
        k,
        v,
        idx,
        num,
        q if key_bias is None else key_bias,
        parts,
        lses,
        listed,
        k.shape[2],
        heads,
        idx.shape[1],
        idx.shape[2],
        scale,
        D=width,
        DP=max(16, 1 << (width - 1).bit_length()),
        DV=v.shape[3],
        DVP=padded,
        SHARE=idx.shape[1] // k.shape[1],
        GROUP=group,
        M=max(16, 1 << (group - 1).bit_length()),
        BLOCK=block,
        TILE=chosen["tile"],
        ROUNDS=rounds,
        SPLITS=splits,
        BIAS=key_bias is not None,
        SCORES=scores,
        PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
        num_warps=chosen["num_warps"],
        num_stages=chosen["num_stages"] if q.dtype != torch.float32 else 1,
    )
    launch(merge_kernel)[(batch * heads,)](
        parts,
        lses,
        out,
        lse,
        DV=v.shape[3],
        DVP=padded,
        SPLITS=splits,
        SPLITSP=1 << (splits - 1).bit_length(),
        num_warps=4,
    )
    return out, lse, listed


def _splits(q: Tensor, idx: Tensor, block: int, chosen: dict[str, int]) -> tuple[int, int]:
    """Returns into how many parts a set is cut, and the tiles of each: enough programs for every multiprocessor."""
    tiles = max(1, -(-idx.shape[2] * block // chosen["tile"]))
    wanted = chosen["programs"] * config.processors(q.device) // max(1, q.shape[0] * idx.shape[1])
    splits = max(1, min(tiles, wanted, MOST_SPLITS))
    rounds = -(-tiles // splits)
    return -(-tiles // rounds), rounds


sparse_decode_op = register_op(NAME, _fake)(_forward)


def sparse_decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: TokenSet | BlockIndex,
    *,
    key_bias: Tensor | None = None,
    scale: float | None = None,
    scores: bool = False,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
    """Attention of one new token to a set of keys a key head, accumulated in float32. Inference only.

    Args:
        q: Queries `[B, H, D]`, float32, float16 or bfloat16.
        k: Keys `[B, Hk, T, D]`; the query stands at the last of the T positions.
        v: Values `[B, Hk, T, Dv]`.
        keys: A set of tokens, or of blocks, for one query; its heads are 1, Hk or H.
        key_bias: What is added to scores, `[B, Hk, T]`.
        scale: Factor of the products; default is D^-0.5.
        scores: Whether the scores of every slot are wanted as well.

    Returns:
        Output `[B, H, Dv]`, log-sum-exp `[B, H]` float32 and, if wanted, scores `[B, H, slots]` float32: in the order
        of the set, minus infinity where a slot does not count.

    Raises:
        InputError: If shapes or types do not fit, or the set is for more than one query.
    """
    if q.dim() != 3 or k.dim() != 4 or v.shape[:3] != k.shape[:3] or q.shape[2] != k.shape[3]:
        raise InputError(
            f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)} do not fit",
            expected="[B, H, D], [B, Hk, T, D], [B, Hk, T, Dv]",
        )
    if q.dtype != k.dtype or q.dtype != v.dtype or not q.is_floating_point() or q.shape[1] % max(k.shape[1], 1):
        raise InputError(f"q, k, v are {q.dtype}, {k.dtype}, {v.dtype}", expected="one type, heads of whole groups")
    if keys.q_len != 1 or keys.kv_len != k.shape[2] or keys.num.shape[1] not in (1, k.shape[1], q.shape[1]):
        raise InputError(
            f"a set for {keys.q_len} queries, {keys.kv_len} keys and {keys.num.shape[1]} heads",
            expected=f"1, {k.shape[2]}, and 1, {k.shape[1]} or {q.shape[1]}",
        )
    idx, num, block = keys.idx[:, :, 0], keys.num[:, :, 0], 1
    if isinstance(keys, BlockIndex):
        block = keys.block_k
        if keys.full_idx.shape[3]:  # two lists; without room for full blocks the one of partial ones is whole
            num, idx = compact(keys.blocks()[:, :, 0])
    lists = max(num.shape[1], k.shape[1])
    out, lse, listed = torch.ops.neurokit_kernels.sparse_decode(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        idx.to(torch.int32).expand(q.shape[0], lists, -1).contiguous(),
        num.to(torch.int32).expand(q.shape[0], lists).contiguous(),
        None if key_bias is None else key_bias.float().contiguous(),
        q.shape[2] ** -0.5 if scale is None else scale,
        block,
        scores,
    )
    return (out, lse, listed) if scores else (out, lse)
