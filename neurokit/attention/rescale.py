"""A set of few keys multiplied in attention that a fused kernel has computed; there is no matrix of weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: A row of which no more than this is left by the factor has no mass beside the keys within the rounding of float32,
#: and of float64.
LEAST, LEAST_DOUBLE = 1e-5, 1e-9
Factor = float | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ratio:
    """A factor from the mass m of a set: (above + above_mass m) / max(below + below_mass m, 1e-6).

    ZeroTuning's gamma is `Ratio(gamma)`; what ACT gives to sinks, beta (1 - m) / (1 - beta m), is
    `Ratio(beta, -beta, 1, -beta)`. A kernel takes the four numbers where it cannot take a function.
    """

    above: float
    above_mass: float = 0.0
    below: float = 1.0
    below_mass: float = 0.0

    def __call__(self, mass: Tensor) -> Tensor:
        """Returns the factor of every row."""
        return (self.above + self.above_mass * mass) / (self.below + self.below_mass * mass).clamp_min(1e-6)


def remaining(factor: Factor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Returns f - 1 and what the rows are divided by, 1 + (f - 1) m; 0 and 1 in rows of which no more is left."""
    more = (factor(mass) if callable(factor) else torch.full_like(mass, factor)) - 1.0
    total = 1 + more * mass
    kept = total > (LEAST_DOUBLE if mass.dtype == torch.float64 else LEAST)
    return torch.where(kept, more, 0.0), torch.where(kept, total, 1.0)


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
    a first token or a few sinks. Where m comes near to 1 and f is small, digits of `out` are lost in the difference; a
    row of which nothing is left within rounding (`LEAST`) stays as it is.

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
    more, total = remaining(factor, mass)
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


@functools.cache
def _fastest(device: torch.device) -> str:
    """Returns the name of the fused kernel that is taken on a GPU."""
    hopper = torch.cuda.get_device_capability(device) >= (9, 0)
    return "cudnn" if hopper and torch.backends.cudnn.is_available() else "flash"
