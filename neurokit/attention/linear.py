"""Linear attention with a decay by head as one operation with explicit state, known to torch.library."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.mixers.lightning import Lightning


@torch.library.custom_op("neurokit::linear_attention", mutates_args=())
def linear_attention(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Mixes tokens by S_t = e^decay S_(t-1) + k_t v_t^T and o_t = q_t S_t: `Lightning.block` without a scale.

    As one operation it stays whole in captured programs, and becomes one node where a runtime has such a thing.

    Args:
        q: Queries `[B, H, S, Dk]`.
        k: Keys `[B, H, S, Dk]`.
        v: Values `[B, H, S, Dv]`.
        decay: Logarithm of each head's decay a token, from 0 down, `[H]`.
        state: State of the tokens before `[B, H, Dk, Dv]`.

    Returns:
        Outputs `[B, H, S, Dv]` and the state after the last token.

    Raises:
        InputError: If a decay is above 0 or not finite.
    """
    if not q.shape[2]:
        return v.new_zeros(v.shape), state.clone()
    out, after = Lightning(tuple(decay.tolist())).block(q, k, v, state)
    return out.contiguous(), after


@linear_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    return q.new_empty(*q.shape[:3], v.shape[-1]), torch.empty_like(state)
