"""Linear attention with a decay by head as one operation with explicit state, known to torch.library."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64


@torch.library.custom_op("neurokit::linear_attention", mutates_args=())
def linear_attention(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Mixes tokens by S_t = e^decay S_(t-1) + k_t v_t^T and o_t = q_t S_t, without softmax and without a scale.

    It is computed in blocks of 64 tokens: products inside of a block, the state between blocks.

    Args:
        q: Queries `[B, H, S, Dk]`.
        k: Keys `[B, H, S, Dk]`.
        v: Values `[B, H, S, Dv]`.
        decay: Logarithm of each head's decay a token, from 0 down, `[H]`.
        state: State of the tokens before `[B, H, Dk, Dv]`.

    Returns:
        Outputs `[B, H, S, Dv]` and the state after the last token.
    """
    parts = []
    after = state.clone()
    for first in range(0, q.shape[2], BLOCK):
        block = slice(first, first + BLOCK)
        out, after = one_block(q[:, :, block], k[:, :, block], v[:, :, block], decay, after)
        parts.append(out)
    return (torch.cat(parts, 2) if parts else q.new_zeros(*q.shape[:3], v.shape[-1])), after


@linear_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    return q.new_empty(*q.shape[:3], v.shape[-1]), torch.empty_like(state)


def one_block(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Mixes one block at once; every factor is a decay over 0 or more tokens, so nothing overflows."""
    index = torch.arange(q.shape[2], device=q.device)
    apart = index[:, None] - index
    rate = decay.to(q.dtype)[:, None, None]
    weights = (rate * apart.clamp_min(0)).exp() * (apart >= 0)
    inside = (q @ k.transpose(-1, -2) * weights) @ v
    before = (q * (rate * (index[:, None] + 1)).exp()) @ state
    fresh = (k * (rate * (q.shape[2] - 1 - index)[:, None]).exp()).transpose(-1, -2) @ v
    return inside + before, (rate * q.shape[2]).exp() * state + fresh
