"""The operator `estimate_blocks` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.estimate_blocks import reference

NAME = "estimate_blocks"
DEFAULT = {"tile": 128, "num_warps": 4, "num_stages": 3}


def _fake(
    q: Tensor,
    k: Tensor,
    q_scale: Tensor,
    k_scale: Tensor,
    mean: Tensor,
    lse: Tensor,
    log_tau: Tensor,
    first: Tensor,
    last: Tensor,
    scale: float,
    block_q: int,
    block_k: int,
) -> Tensor:
    shape = (*q.shape[:2], -(-q.shape[2] // block_q), -(-k.shape[2] // block_k))
    return q.new_empty(shape, dtype=torch.int8)


def _forward(
    q: Tensor,
    k: Tensor,
    q_scale: Tensor,
    k_scale: Tensor,
    mean: Tensor,
    lse: Tensor,
    log_tau: Tensor,
    first: Tensor,
    last: Tensor,
    scale: float,
    block_q: int,
    block_k: int,
) -> Tensor:
    out = _fake(q, k, q_scale, k_scale, mean, lse, log_tau, first, last, scale, block_q, block_k).zero_()
    if q.numel() == 0:
        return out
    if not use_triton(NAME, q):
        return reference.forward(q, k, q_scale, k_scale, mean, lse, log_tau, first, last, scale, block_q, block_k)
    from neurokit.kernels.estimate_blocks.triton import estimate_kernel

    chosen = config.lookup(NAME, (block_q, block_k, q.shape[3]), q.device, DEFAULT)
    span = max(1, chosen["tile"] // block_k)
    launch(estimate_kernel)[(out.shape[2], q.shape[1], q.shape[0])](
        q,
        k,
        q_scale,
        k_scale,
        mean,
        lse,
        log_tau,
        first,
        last,
        out,
        q.shape[2],
        k.shape[2],
        q.shape[1],
        k.shape[1],
        out.shape[2],
        out.shape[3],
        scale,
        D=q.shape[3],
        DP=max(32, 1 << (q.shape[3] - 1).bit_length()),
        BLOCK_Q=block_q,
        BLOCK_K=block_k,
        M=max(16, block_q),
        N=span * block_k,
        SPAN=span,
        BOUND=-(-out.shape[3] // span) if INTERPRET else 0,
        num_warps=chosen["num_warps"],
        num_stages=chosen["num_stages"],
    )
    return out


estimate_blocks_op = register_op(NAME, _fake)(_forward)


def estimate_blocks(
    q: Tensor,
    k: Tensor,
    q_scale: Tensor,
    k_scale: Tensor,
    mean: Tensor,
    lse: Tensor,
    thresholds: Tensor,
    first: Tensor,
    last: Tensor,
    *,
    scale: float,
    block_q: int = 64,
    block_k: int = 32,
) -> Tensor:
    """Says which key blocks hold a pair whose estimated relative weight passes a threshold (SALE). Inference only.

    Args:
        q: Codes of the queries, int8 `[B, H, S, D]`; `neurokit.attention.patterns.sale.SALE.codes` makes them all.
        k: Codes of the keys, int8 `[B, Hk, T, D]`.
        q_scale: float32 `[B, H, S]`.
        k_scale: float32 `[B, Hk, T]`.
        mean: Products of the mean query with the keys, float32 `[B, H, T]`.
        lse: Log-sum-exp of each query over what is attended to anyway, float32 `[B, H, S]`.
        thresholds: tau of each head, float32 `[H]`; 0 passes everything.
        first: First estimated block of each block of queries, int32 `[Q]`.
        last: First block after those.
        scale: Factor of the products.
        block_q: Queries a block, a power of two.
        block_k: Keys a block, a power of two from 16 to 128.

    Returns:
        Whether each block passes, bool `[B, H, Q, K]`; false outside of the estimated range.

    Raises:
        InputError: If shapes, types or block sizes do not fit.
    """
    if q.dtype != torch.int8 or k.dtype != torch.int8 or q.dim() != 4 or k.dim() != 4 or q.shape[3] != k.shape[3]:
        raise InputError(
            f"codes are {q.dtype} {list(q.shape)}, {k.dtype} {list(k.shape)}", expected="int8 [B, H, N, D]"
        )
    if block_q not in (16, 32, 64, 128) or block_k not in (16, 32, 64, 128):
        raise InputError(f"blocks of {block_q} x {block_k}", expected="powers of two from 16 to 128")
    rows = (*q.shape[:3],)
    wanted = {"q_scale": rows, "k_scale": k.shape[:3], "mean": (*q.shape[:2], k.shape[2]), "lse": rows}
    for name, x in (("q_scale", q_scale), ("k_scale", k_scale), ("mean", mean), ("lse", lse)):
        if tuple(x.shape) != tuple(wanted[name]) or x.dtype != torch.float32:
            raise InputError(f"{name} is {x.dtype} {list(x.shape)}", expected=f"float32 {list(wanted[name])}")
    count = -(-q.shape[2] // block_q)
    if thresholds.shape != (q.shape[1],) or first.shape != (count,) or last.shape != (count,):
        raise InputError(
            f"{len(thresholds)} thresholds, {len(first)} and {len(last)} bounds",
            expected=f"{q.shape[1]}, {count}, {count}",
        )
    passed = torch.ops.neurokit_kernels.estimate_blocks(
        *(x.contiguous() for x in (q, k, q_scale, k_scale, mean, lse)),
        thresholds.float().log(),
        first.to(torch.int32).contiguous(),
        last.to(torch.int32).contiguous(),
        scale,
        block_q,
        block_k,
    )
    return passed.bool()
