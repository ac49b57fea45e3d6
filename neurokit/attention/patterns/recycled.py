"""Recycled attention: between two full steps, decoding attends to the keys that the last full step found important."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.choose import largest, largest_mask
from neurokit.attention.definition import attend
from neurokit.attention.pattern import AttentionPattern, Call, Card, Traits, register_pattern
from neurokit.errors import InputError


@dataclass(frozen=True)
class RecycledState:
    """What decoding keeps beside the full cache.

    Attributes:
        order: Positions of the small cache, the first to leave first, int64 `[B, Hk, K]`.
        query: The head-averaged query of the last full step `[B, D]`.
        since: Steps since then.
    """

    order: Tensor
    query: Tensor
    since: int


@register_pattern
@dataclass(frozen=True)
class Recycled(AttentionPattern):
    """K keys a key head, by the largest attention that a head of the group gave them in the last full step.

    `select` gives the set that a call's last query chooses. `start` and `step` decode with it.

    Attributes:
        count: Keys of the small cache, K.
        every: Every how many steps one is full; 0 leaves it to the similarity.
        check_every: Every how many steps the similarity of queries is looked at; 0 is never.
        threshold: Cosine at or below which the step becomes full.
        pool: Positions of the maximum pooling of attention, odd; 1 is none.
    """

    count: int = 4096
    every: int = 10
    check_every: int = 0
    threshold: float = 0.95
    pool: int = 7

    card: ClassVar[Card] = Card(
        "recycled",
        "the keys that the last full step attended to most, reused for the steps after it",
        "a_j = maximum over the group's heads of softmax(scale q . K)_j, max-pooled over `pool` positions\n"
        "full step: o over all keys, set = the K largest a_j\n"
        "partial step: o over the set and the token itself, which joins it in the place of the key with the least a_j",
        "Recycled Attention, arXiv 2411.05787, later RefreshKV, ACL 2025",
        "the authors' repository could not be had; rules as read in the paper and a public reproduction, no code taken",
        "one set a key head, the token itself included; equal scores, which pooling makes, go to the lower position; "
        "the full cache keeps every token",
        "the reproduction keeps one set a layer for all key heads, and leaves the token itself out of the choice",
        "K + 1 keys and values read in a partial step, all in a full one; nothing is saved in memory",
        {
            "count": "keys of the small cache, K",
            "every": "every how many steps one is full, 0 for never",
            "check_every": "every how many steps queries are compared, 0 for never",
            "threshold": "cosine at or below which a step becomes full",
            "pool": "positions of max pooling, odd",
        },
    )
    traits: ClassVar[Traits] = Traits("tokens", needs_scores=True, by_row=True)

    def __post_init__(self) -> None:
        if self.count < 1 or self.every < 0 or self.check_every < 0 or self.pool < 1 or self.pool % 2 == 0:
            raise InputError(
                f"count={self.count}, every={self.every}, check_every={self.check_every}, pool={self.pool}",
                expected="count >= 1, steps >= 0, an odd pool",
            )

    @classmethod
    def samples(cls) -> list[AttentionPattern]:
        """Returns small instances for the contract tests."""
        return [cls(6, 4), cls(5, 3, pool=1)]

    def whole(self, length: int) -> Recycled:
        """Returns a budget of `length` keys."""
        return replace(self, count=length)

    def slots(self, length: int) -> int:
        """Returns the keys that a row lists at most."""
        return min(self.count, length)

    def scores(self, call: Call) -> Tensor:
        """Returns the pooled attention of the last query, `[B, Hk, T]`."""
        q = call.grouped_q()[:, :, :, -1]
        products = q @ call.k.transpose(-1, -2) * call.factor
        hidden = None if call.plain else ~call.seen()[:, :, -1]
        if hidden is not None:
            products = products.masked_fill(hidden[:, :, None], float("-inf"))
        weights = products.softmax(-1).amax(2)
        weights = F.max_pool1d(weights, self.pool, 1, self.pool // 2) if self.pool > 1 else weights
        # Pooling lends weight to neighbours that are padding, or not there yet.
        return weights if hidden is None else weights.masked_fill(hidden, float("-inf"))

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that count where every query uses the set of the last one, `[B, Hk, S, T]`."""
        return largest_mask(self.scores(call), self.count)[:, :, None].expand(-1, -1, call.new, -1) & call.seen()

    def start(self, call: Call) -> RecycledState:
        """Returns the state after a full step: the prompt, or one token; the last query chooses."""
        # Ascending: the least leaves first, of equal ones the later position.
        order = largest(self.scores(call), self.count).flip(-1)
        return RecycledState(order, call.q[:, :, -1].mean(1), 0)

    def mode(self, call: Call, state: RecycledState) -> Literal["full", "partial"]:
        """Returns what the next step is; a batch is full as soon as one of its rows is."""
        if self.every and state.since + 1 >= self.every:
            return "full"
        if self.check_every and (state.since + 1) % self.check_every == 0:
            near = F.cosine_similarity(call.q[:, :, -1].mean(1), state.query, dim=-1)
            return "full" if bool((near <= self.threshold).any()) else "partial"
        return "partial"

    def step(self, call: Call, state: RecycledState) -> tuple[Tensor, RecycledState, Tensor]:
        """Decodes one token.

        Args:
            call: One query, and all keys and values, its own included.
            state: The state before.

        Returns:
            Output `[B, H, 1, Dv]`, the state after, and the positions attended to, int64 `[B, Hk, n]`.

        Raises:
            InputError: If the call has another number of queries than one.
        """
        if call.new != 1:
            raise InputError(f"a step of {call.new} tokens", expected="one token a step; a prompt is a full step")
        if self.mode(call, state) == "full":
            every = torch.arange(call.length, device=call.k.device).expand(*call.k.shape[:2], -1)
            return attend(call.q, call.k, call.v, None, call.key_bias, call.scale)[0], self.start(call), every
        own = torch.full_like(state.order[..., :1], call.length - 1)
        used = torch.cat([state.order, own], -1)
        k, v = (x.gather(2, used[..., None].expand(-1, -1, -1, x.shape[-1])) for x in (call.k, call.v))
        bias = None if call.key_bias is None else call.key_bias.gather(2, used)
        out = attend(call.q, k, v, None, bias, call.scale)[0]
        # While the small cache is not full yet, nothing has to leave.
        order = used if used.shape[-1] <= self.count else used[..., 1:]
        return out, replace(state, order=order, since=state.since + 1), used
