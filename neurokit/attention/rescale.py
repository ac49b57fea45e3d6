"""A set of few keys multiplied in attention that a fused kernel has computed; there is no matrix of weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def rescaled(
    out: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Tensor,
    factor: float | Callable[[Tensor], Tensor],
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
