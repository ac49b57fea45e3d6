"""Judging attention, whose sums are ordered freely: every output against float64, within the rounding of its type."""

from __future__ import annotations

import torch
from torch import Tensor

# Roundings of scores, weights and products, as a multiple of the unit roundoff of the type that products are made in.
_OUTPUT, _LSE = 8.0, 64.0


def judge_attention(out: Tensor, lse: Tensor, exact: Tensor, total: Tensor, v: Tensor, kind: torch.dtype) -> str:
    """Returns what is wrong with an output and its log-sum-exp, or "".

    Weights sum to 1, so that an output is off by a few roundings of the largest value at most; scores of half
    precision are summed in float32.

    Args:
        out: Output.
        lse: Log-sum-exp.
        exact: The output in float64, of the same inputs.
        total: The log-sum-exp in float64.
        v: Values.
        kind: Type of the inputs.
    """
    empty = total == float("-inf")
    if not torch.equal(lse == float("-inf"), empty) or not bool((out[empty] == 0).all()):
        return "rows that see nothing must be 0, with a log-sum-exp of minus infinity, and no others"
    unit = max(torch.finfo(kind).eps, 4 * torch.finfo(torch.float32).eps)
    top = float(v.double().abs().max()) if v.numel() else 0.0
    off = float((out.double() - exact).abs().max()) if out.numel() else 0.0
    if not off <= _OUTPUT * unit * max(top, 1e-30):
        return f"the output is off by {off:.3g}, allowed {_OUTPUT * unit * top:.3g}"
    apart = (lse.double() - total).masked_fill(empty, 0.0).abs()
    worst = float(apart.max()) if apart.numel() else 0.0
    allowed = (
        _LSE
        * torch.finfo(torch.float32).eps
        * max(1.0, float(total.masked_fill(empty, 0.0).abs().max()) if total.numel() else 1.0)
    )
    return "" if worst <= allowed else f"the log-sum-exp is off by {worst:.3g}, allowed {allowed:.3g}"
