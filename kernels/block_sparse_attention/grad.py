"""The operator `block_sparse_attention_backward`, and how autograd reaches it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurokit.attention.index import BlockIndex
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, launch, register_op
from neurokit.kernels.block_sparse_attention import reference
from neurokit.kernels.block_sparse_attention.op import (
    DEFAULT_BACKWARD,
    Shape,
    _bound,
    _given,
    _sizes,
    default,
    shape_of,
    tile_of,
)
from neurokit.kernels.dispatch import use_triton

NAME = "block_sparse_attention_backward"


def _fake(
    grad: Tensor,
    grad_lse: Tensor,
    out: Tensor,
    lse: Tensor,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    bias = k.shape[:3] if key_bias is not None else (0,)
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), q.new_empty(bias, dtype=torch.float32)


def _backward(
    grad: Tensor,
    grad_lse: Tensor,
    out: Tensor,
    lse: Tensor,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tables = (num, idx, full_num, full_idx)
    results = _fake(grad, grad_lse, out, lse, q, k, v, *tables, key_bias, scale, block_q, block_k, causal)
    index = BlockIndex(*tables, q.shape[2], k.shape[2], block_q, block_k, causal)
    if out.numel() == 0:
        return tuple(x.zero_() for x in results)  # type: ignore[return-value]
    if not use_triton(NAME, q) or q.dtype == torch.float64:
        exact = reference.backward(grad, grad_lse, q, k, v, index, key_bias, scale)
        return tuple(into.copy_(x) for into, x in zip(results, exact, strict=True))  # type: ignore[return-value]
    # d score = weight * (dO . v - dO . o + d lse), rows that see nothing apart.
    delta = (grad.float() * out.float()).sum(-1) - grad_lse.masked_fill(lse == float("-inf"), 0.0)
    chosen = config.lookup(NAME, (block_q, block_k, q.shape[3]), q.device, default(q, DEFAULT_BACKWARD))
    cut = shape_of(q, k, v, num, block_q, block_k, causal, chosen["rows"])
    # A pair of large blocks fills the registers of 4 warps, and shared memory without a second stage.
    large = cut.rows * block_k > 64 * 64
    warps, stages = (8, 1) if large else (chosen["num_warps"], chosen["num_stages"])
    options = {"num_warps": warps, "num_stages": stages, "BIAS": key_bias is not None}
    _launch_dq(grad, lse, delta, q, k, v, tables, key_bias, scale, results[0], cut, chosen["tile"], options)
    _launch_dkv(grad, lse, delta, q, k, v, index, key_bias, scale, results[1:], cut, options)
    return results


def _launch_dq(
    grad: Tensor,
    lse: Tensor,
    delta: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    tables: tuple[Tensor, ...],
    key_bias: Tensor | None,
    scale: float,
    dq: Tensor,
    cut: Shape,
    tile: int,
    options: dict[str, Any],
) -> None:
    from neurokit.kernels.block_sparse_attention.triton_backward import dq_kernel

    block_k = cut.constants["BLOCK_K"]
    tile = tile_of(cut, tile)
    launch(dq_kernel)[(tables[0].shape[2], q.shape[1] // cut.pack, q.shape[0])](
        *_given(q, k, v, *tables, key_bias),  # type: ignore[arg-type]
        grad,
        lse,
        delta,
        dq,
        *_sizes(q, k, tables[0], scale, tables[1], tables[3]),
        BOUND=_bound(tables[1], block_k, tile),
        FULL_BOUND=_bound(tables[3], block_k, tile),
        TILE=tile,
        **cut.constants,
        **options,
    )


def _launch_dkv(
    grad: Tensor,
    lse: Tensor,
    delta: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: BlockIndex,
    key_bias: Tensor | None,
    scale: float,
    into: tuple[Tensor, ...],
    cut: Shape,
    options: dict[str, Any],
) -> None:
    from neurokit.attention.index import compact
    from neurokit.kernels.block_sparse_attention.triton_backward import dkv_kernel

    num, idx = compact(index.blocks().transpose(2, 3))
    launch(dkv_kernel)[(num.shape[2], k.shape[1], q.shape[0])](
        q,
        k,
        v,
        num,
        idx,
        q if key_bias is None else key_bias,
        grad,
        lse,
        delta,
        *into,
        *_sizes(q, k, num, scale, idx),
        BOUND=idx.shape[3] if INTERPRET else 0,
        SHARES=q.shape[1] // k.shape[1] // cut.pack,
        **cut.constants,
        **options,
    )


backward_op = register_op(NAME, _fake)(_backward)


def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keeps inputs and outputs: weights are computed again."""
    ctx.save_for_backward(*inputs[:8], *output)
    ctx.settings = inputs[8:]


def autograd(ctx: Any, grad: Tensor, grad_lse: Tensor) -> Any:
    """Returns the gradients of the inputs of `block_sparse_attention`."""
    *given, out, lse = ctx.saved_tensors
    dq, dk, dv, dbias = torch.ops.neurokit_kernels.block_sparse_attention_backward(
        grad.contiguous(), grad_lse.contiguous(), out, lse, *given, *ctx.settings
    )
    return dq, dk, dv, None, None, None, None, dbias if given[7] is not None else None, None, None, None, None


torch.library.register_autograd("neurokit_kernels::block_sparse_attention", autograd, setup_context=setup_context)
