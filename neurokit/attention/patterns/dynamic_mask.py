"""Dynamic mask attention: the keys with the largest bias, which the values themselves give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.choose import largest_mask, prefix_largest_mask
from neurokit.attention.pattern import AttentionPattern, Call, Card, Traits, register_pattern
from neurokit.errors import InputError


@register_pattern
@dataclass(frozen=True)
class DynamicMask(AttentionPattern):
    """The `count` keys of the largest bias among those that a query sees; the bias is added to the scores as well.

    Attributes:
        count: Keys a query, w.
        smooth: Keys a block of block smoothing; 0 is none. A block is kept whole where more than half of its visible
            keys are kept, and dropped whole elsewhere.
        shared: Whether one set, chosen over all keys, serves all queries, as in flash-dmattn's example model; later
            tokens then decide what earlier ones see.
    """

    count: int = 2048
    smooth: int = 0
    shared: bool = False

    card: ClassVar[Card] = Card(
        "dynamic_mask",
        "the keys whose values give the largest bias",
        "dt = W vec(v_j);  b_j = exp(A softplus(dt_j)) a key head;  set(t) = the w largest b_j with j <= t\n"
        "o_t = softmax(scale q_t . k_j + b_j over set(t)) v",
        "Trainable Dynamic Mask Sparse Attention, arXiv 2508.02124; transformers models/doge, SmallDoges/flash-dmattn",
        "Apache-2.0 and BSD-3-Clause; equations only, no code taken",
        "one set a query over the keys it sees, exactly min(w, t + 1) keys; ties, which are ordinary because equal "
        "values have equal biases, go to the lower position; smoothing counts visible keys only; the bias is cached",
        "transformers breaks ties by accident, so that one pass and steps differ; flash-dmattn drops the exponential, "
        "chooses one set over all positions for all queries, and its block smoothing switches future keys on",
        "Hk biases of Hk D multiply-adds to select; w keys and values read",
        {
            "count": "keys a query",
            "smooth": "keys a block of block smoothing, 0 for none",
            "shared": "one set over all keys for all queries (not safe for causality)",
        },
    )
    traits: ClassVar[Traits] = Traits("tokens", per_query=True, causal_safe=True, needs_bias=True, by_row=True)

    def __post_init__(self) -> None:
        if self.count < 1 or self.smooth < 0:
            raise InputError(f"count={self.count}, smooth={self.smooth}", expected="count >= 1, smooth >= 0")

    @classmethod
    def samples(cls) -> list[AttentionPattern]:
        """Returns small instances for the contract tests."""
        return [cls(4), cls(6, smooth=4)]

    def whole(self, length: int) -> DynamicMask:
        """Returns a budget of `length` keys."""
        return replace(self, count=length)

    def slots(self, length: int) -> int:
        """Returns the keys that a row lists at most."""
        return length if self.smooth else min(self.count, length)

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that count, `[B, Hk, S, T]`."""
        bias = call.key_bias
        if bias is None:
            raise InputError("pattern 'dynamic_mask' selects by a bias of the keys", expected="key_bias [B, Hk, T]")
        bias, seen = bias.detach(), call.seen()
        if bias.dim() == 4 or not (call.plain or self.shared):  # a bias a pair, or rows that begin elsewhere
            bias = bias if bias.dim() == 4 else bias[:, :, None]
            chosen = largest_mask(bias.masked_fill(~seen, float("-inf")), self.count)
        elif self.shared or not call.causal:
            chosen = largest_mask(bias, self.count)[:, :, None].expand(-1, -1, call.new, -1)
        else:
            chosen = prefix_largest_mask(bias, self.count, call.new)
        if self.smooth:
            chosen = smoothed(chosen, seen if not self.shared else torch.ones_like(seen), self.smooth)
        return chosen & seen


def smoothed(chosen: Tensor, seen: Tensor, block: int) -> Tensor:
    """Keeps blocks of keys whole where more than half of their visible keys are chosen, and drops the others.

    Args:
        chosen: Bool `[..., S, T]`.
        seen: Visible keys, bool `[S, T]`.
        block: Keys a block.
    """
    length = chosen.shape[-1]
    pad = (0, -length % block)
    votes = F.pad(chosen & seen, pad).unflatten(-1, (-1, block)).sum(-1)
    voters = F.pad(seen, pad).unflatten(-1, (-1, block)).sum(-1)
    return (2 * votes > voters).repeat_interleave(block, -1)[..., :length] & seen


def value_bias(v: Tensor, weight: Tensor, amplitude: Tensor, form: Literal["exp", "linear"] = "exp") -> Tensor:
    """Returns the bias of each key, `[B, Hk, T]`.

    Args:
        v: Values `[B, Hk, T, Dv]`.
        weight: W `[Hk, Hk Dv]`, of the values of all key heads of a position.
        amplitude: A `[Hk]`.
        form: "exp" for exp(A softplus(dt)), the paper's; "linear" for A softplus(dt), that of flash-dmattn's example.
    """
    dt = F.softplus(v.transpose(1, 2).flatten(2) @ weight.transpose(0, 1))
    bias = (amplitude * dt).transpose(1, 2)
    return bias.exp() if form == "exp" else bias
