"""A set of few keys multiplied in attention that a fused kernel has computed; there is no matrix of weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Factor = float | Callable[[Tensor], Tensor]


def rescaled(
    out: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Tensor,
    factor: Factor,
    scale: float | None = None,
) -> Tensor:
    """Returns attention in which the weights of some keys are multiplied and every row divided by its sum.

    With m the mass of the set in a row and o_S the part of the row's output that comes from it (weights times values),
    the result is (out + (f - 1) o_S) / (1 + (f - 1) m): the definition, as out is linear in the weights. It is made for
    a first token or a few sinks. Where m comes near to 1 and f is small, digits of `out` are lost in the difference.

    Args:
        out: Output of attention to all keys `[B, H, S, Dv]`.
        lse: Its log-sum-exps `[B, H, S]`, of half precision float32.
        q: Queries `[B, H, S, D]`.
        k: The few keys `[B, H, n, D]`.
        v: Their values `[B, H, n, Dv]`.
        visible: Which of them a query sees, bool `[.., S, n]`.
        factor: The factor f, or what returns it for the masses `[B, H, S, 1]`.
        scale: Factor of the products; default is D^-0.5.
    """
    scores = (q @ k.transpose(-1, -2)).to(lse.dtype) * (q.shape[-1] ** -0.5 if scale is None else scale)
    weights = (scores - lse[..., None]).exp().masked_fill(~visible, 0.0)
    mass = weights.sum(-1, keepdim=True)
    more = (factor - 1.0) if isinstance(factor, float) else factor(mass) - 1.0
    total = 1 + more * mass
    return out * (1 / total).to(out.dtype) + (weights * (more / total)).to(v.dtype) @ v


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, kernel: str | None = None
) -> tuple[Tensor, Tensor]:
    """Returns causal attention `[B, H, S, D]` and its log-sum-exps `[B, H, S]` by torch's fused kernels.

    Args:
        q: Queries `[B, H, S, D]`, of half precision on a GPU.
        k: Keys, as many heads and tokens as there are queries.
        v: Values.
        scale: Factor of the products; default is D^-0.5.
        kernel: "cudnn" or "flash"; default is cuDNN's on Hopper and later, which measured 1.8 times as fast there
            (benchmarks/results/attention-opponents-h200.json), and flash attention elsewhere.
    """
    operators = torch.ops.aten
    if not q.is_cuda:
        found = operators._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, scale=scale)
    elif (kernel or _fastest(q.device)) == "cudnn":
        found = operators._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, True, scale=scale)
    else:
        found = operators._scaled_dot_product_flash_attention(q, k, v, 0.0, True, scale=scale)
    return found[0], found[1].reshape(q.shape[:-1])


def calibrated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    factor: Factor,
    scale: float | None = None,
    kernel: str | None = None,
) -> Tensor:
    """Returns causal attention in which the weights of a few keys are multiplied and every row divided by its sum.

    A fused kernel attends to all keys; one pass more reads the queries once and corrects the output in its place, so
    that nothing of the size of a matrix of weights, and no second output, exists. On a GPU the pass is compiled.

    Args:
        q: Queries `[B, H, S, D]`.
        k: Keys `[B, H, S, D]`.
        v: Values `[B, H, S, D]`.
        keys: Positions of the few keys, int64 `[n]`; rows before a key do not see it.
        factor: The factor, or what returns it for the masses of the set `[B, H, S, 1]` (plain operations of torch).
        scale: Factor of the products; default is D^-0.5.
        kernel: As `fused_attention`'s.
    """
    out, lse = fused_attention(q, k, v, scale, kernel)
    correct = _compiled(factor) if q.is_cuda else functools.partial(_correct, factor)
    return correct(out, lse, q, k, v, keys, q.shape[-1] ** -0.5 if scale is None else scale)


def _correct(
    factor: Factor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, keys: Tensor, scale: float
) -> Tensor:
    """Corrects `out` in its place.

    One product and sum a key, no matmul: a compiler makes one kernel of it, which reads q and out once and writes out.
    """
    kind, rows = lse.dtype, torch.arange(q.shape[2], device=q.device)[:, None]
    wide = q.to(kind)
    weights, values = [], []
    for at in keys.split(1):
        score = (wide * k.index_select(2, at).to(kind)).sum(-1, keepdim=True) * scale
        weights.append(torch.where(at <= rows, (score - lse[..., None]).exp(), 0.0))
        values.append(v.index_select(2, at).to(kind))
    mass = functools.reduce(torch.add, weights)
    more = (factor - 1.0) if isinstance(factor, float) else factor(mass) - 1.0
    part = functools.reduce(torch.add, [w * x for w, x in zip(weights, values, strict=True)])
    return out.copy_((out.to(kind) + more * part) / (1 + more * mass))


@functools.cache
def _compiled(factor: Factor) -> Callable[..., Any]:
    def correct(*given: Any) -> Tensor:
        return _correct(factor, *given)

    # Tuned: with four keys 1.03 of SDPA at 32,768 tokens in the place of 1.09 on an H200; no shorter at 2,048.
    return torch.compile(correct, options={"coordinate_descent_tuning": True})


@functools.cache
def _fastest(device: torch.device) -> str:
    """Returns the name of the fused kernel that is taken on a GPU."""
    hopper = torch.cuda.get_device_capability(device) >= (9, 0)
    return "cudnn" if hopper and torch.backends.cudnn.is_available() else "flash"
