"""The definition of `estimate_blocks`: which blocks hold a pair whose estimated weight passes a threshold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.definition import causal_mask


def ratios(q: Tensor, k: Tensor, q_scale: Tensor, k_scale: Tensor, mean: Tensor, lse: Tensor, scale: float) -> Tensor:
    """Returns the logarithm of every pair's estimated relative weight, `[B, H, S, T]`, minus infinity after a query."""
    kind, group = q_scale.dtype, q.shape[1] // k.shape[1]
    whole = q.to(kind) @ k.to(kind).repeat_interleave(group, 1).transpose(-1, -2)
    step = q_scale[..., None] * k_scale.repeat_interleave(group, 1)[:, :, None]
    estimate = step * (whole + (mean[:, :, None] / step).round()) * scale - lse[..., None]
    return estimate.masked_fill(~causal_mask(q.shape[2], k.shape[2], q.device), float("-inf"))


def largest(ratio: Tensor, block_q: int, block_k: int) -> Tensor:
    """Returns the largest value of every block, `[B, H, Q, K]`."""
    pads = (0, -ratio.shape[3] % block_k, 0, -ratio.shape[2] % block_q)
    tiles = F.pad(ratio, pads, value=float("-inf")).unflatten(-1, (-1, block_k)).unflatten(2, (-1, block_q))
    return tiles.amax((3, 5))


def forward(
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
    """Returns the blocks that pass, int8 `[B, H, Q, K]`."""
    lse = lse.masked_fill(lse == float("-inf"), float("inf"))
    best = largest(ratios(q, k, q_scale, k_scale, mean, lse, scale), block_q, block_k)
    index = torch.arange(best.shape[3], device=q.device)
    scored = (index >= first[:, None]) & (index < last[:, None])
    return ((best > log_tau[:, None, None]) & scored).to(torch.int8)
