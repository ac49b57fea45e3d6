"""The definition of `block_sparse_attention`: attention under the dense mask of an index, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.definition import attend
from neurokit.attention.index import BlockIndex


def forward(
    q: Tensor, k: Tensor, v: Tensor, index: BlockIndex, key_bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Returns outputs `[B, H, S, Dv]` of the queries' type and the log-sum-exp `[B, H, S]` in float32 at least."""
    return attend(q, k, v, index.to_dense(), key_bias, scale)


def backward(
    grad: Tensor,
    grad_lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: BlockIndex,
    key_bias: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of q, k, v and the bias (float32, zeros `[0]` where there is none) by differentiation."""
    with torch.enable_grad():
        given = [x.detach().requires_grad_() for x in (q, k, v)]
        bias = None if key_bias is None else key_bias.detach().requires_grad_()
        out, lse = attend(*given, index.to_dense(), bias, scale)
        seen = lse > float("-inf")
        total = (out * grad).sum() + (lse.masked_fill(~seen, 0.0) * grad_lse.masked_fill(~seen, 0.0)).sum()
        slopes = torch.autograd.grad(total, given if bias is None else [*given, bias])
    return (*slopes[:3], slopes[3].float() if bias is not None else q.new_zeros(0, dtype=torch.float32))
