"""Routing attention: tokens attend within clusters, to which k-means assigns queries and keys."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.choose import largest_mask
from neurokit.attention.definition import attend
from neurokit.attention.pattern import AttentionPattern, Call, Card, Traits, register_pattern
from neurokit.errors import InputError

SELF_SCORE = -5e4  # of a token with itself where queries are keys, as released


@register_pattern
@dataclass(frozen=True)
class Routing(AttentionPattern):
    """Attention inside of clusters, and the mean over the clusters that hold a query.

    Attributes:
        means: Centroids `[H, C, D]` or `[1, C, D]`, frozen.
        window: Tokens a cluster takes ("balanced"), or latest keys of a cluster that a query sees ("nearest").
        assign: "nearest": each token goes to the centroid of the largest product, which no later token can change;
            "balanced", as published: each centroid takes the `window` tokens of the largest products, later ones too.
    """

    means: Tensor = field(compare=False)
    window: int = 128
    assign: Literal["balanced", "nearest"] = "nearest"

    card: ClassVar[Card] = Card(
        "routing",
        "attention within clusters of queries and keys",
        "balanced: cluster c holds the w tokens of the largest x/|x| . mean_c\n"
        "nearest: token i is in the cluster of the largest x_i . mean_c\n"
        "o_i = mean over the clusters of query i of softmax(scale q_i . k_j over the keys j <= i of the cluster) v",
        "Roy et al., Routing Transformer, arXiv 2003.05997; lucidrains/routing-transformer",
        "MIT; equations only, no code taken",
        "both assignments; `nearest` is safe for causality, `balanced` is published; the mean is exact; a token in "
        "no cluster gives 0",
        "clusters choose over all positions: membership sees the future; divides by the number of clusters + 1e-5; "
        "padding can fill a cluster; causal without shared queries and keys needs a memory slot a cluster",
        "C products to assign; w keys and values a cluster; O(T^1.5) where C and w are near sqrt(T)",
        {
            "means": "centroids [H, C, D]",
            "window": "tokens a cluster, or latest keys of it",
            "assign": "nearest (safe for causality) or balanced (as published)",
        },
    )
    traits: ClassVar[Traits] = Traits("tokens", per_query=True, needs_scores=True, longest=True, by_row=True)

    def __post_init__(self) -> None:
        if self.window < 1 or self.means.dim() != 3 or self.assign not in ("balanced", "nearest"):
            raise InputError(
                f"window={self.window}, means {list(self.means.shape)}, assign={self.assign!r}",
                expected="a window of at least 1, means [H, C, D], balanced or nearest",
            )

    @classmethod
    def samples(cls) -> list[AttentionPattern]:
        """Returns small instances for the contract tests."""
        means = F.normalize(torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0)).double(), dim=-1)
        return [cls(means, 5, "balanced"), cls(means, 6, "nearest")]

    def whole(self, length: int) -> Routing:
        """Returns one cluster that holds `length` tokens."""
        return replace(self, means=self.means[:, :1], window=length)

    @property
    def one_softmax(self) -> bool:
        """A token of several clusters has the mean of their outputs."""
        return self.assign == "nearest"

    @property
    def step_safe(self) -> bool:
        """Each token goes to its nearest centroid, which no other token decides."""
        return self.assign == "nearest"

    def parameter(self, heads: int, groups: int, width: int) -> tuple[str, Tensor] | None:
        """Returns the centroids of every head, zero at first."""
        return "means", torch.zeros(heads, *self.means.shape[1:])

    def slots(self, length: int) -> int:
        """Returns the keys that a row lists at most."""
        return min(self.window, length)

    def members(self, x: Tensor, window: int | None = None) -> Tensor:
        """Returns which tokens of `[B, H, N, D]` each cluster holds, bool `[B, H, C, N]`."""
        worth = self.means.to(x) @ F.normalize(x, dim=-1).transpose(-1, -2)
        if self.assign == "balanced":
            return largest_mask(worth, window or self.window)
        return largest_mask(worth.transpose(-1, -2), 1).transpose(-1, -2)

    def pairs(self, call: Call, key_window: int | None = None) -> Tensor:
        """Returns the pairs of each cluster that count, bool `[B, H, C, S, T]`.

        Args:
            call: The call; where its keys are its queries ("shared"), pass normalised queries as keys.
            key_window: Keys a cluster takes, where it is not `window`: keys of another sequence.
        """
        keys = call.k.repeat_interleave(call.q.shape[1] // call.k.shape[1], 1)
        inside = self.members(call.q)[..., :, None] & self.members(keys, key_window)[..., None, :]
        seen = call.seen()
        inside = inside & (seen[:, :, None] if seen.dim() == 4 else seen)
        if self.assign == "balanced":
            return inside
        latest = inside.flip(-1).cumsum(-1).flip(-1)  # a key and those of the cluster after it
        return inside & (latest <= self.window)

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that share a cluster, `[B, H, S, T]`."""
        return self.pairs(call).any(2)

    def attend(self, call: Call) -> Tensor:
        """Returns the mean over clusters of attention inside of each."""
        # Padding would take places of a cluster that chooses its tokens.
        return self._row_by_row(call) if self.assign == "balanced" and not call.plain else self.mix(call)

    def scored(self, length: int) -> int:
        """Returns the centroids, for the query and for its key."""
        return 2 * self.means.shape[1]

    @property
    def scans(self) -> bool:
        """Whether every key is read to select: clusters of old keys are kept."""
        return False

    def mix(
        self,
        call: Call,
        *,
        shared: bool = False,
        key_window: int | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Returns the mean over clusters, with what the released module has beside it.

        Args:
            call: The call.
            shared: Whether keys are the queries, of unit length: a token then sees itself only where nothing else is.
            key_window: Keys a cluster takes, where it is not `window`.
            memory: Keys and values `[H, C, M, D]` that every query of a cluster sees.
            valid: Which tokens are no padding, bool `[B, T]`.
        """
        if shared:
            call = replace(call, k=F.normalize(call.q, dim=-1))
        group = call.q.shape[1] // call.k.shape[1]
        k, v = (x.repeat_interleave(group, 1) for x in (call.k, call.v))
        pairs = self.pairs(call, key_window)
        if valid is not None:
            pairs = pairs & valid[:, None, None, None, :]
        bias = None
        if shared:  # a score of its own for every pair of a token with itself
            own = torch.eye(call.new, call.length, dtype=torch.bool, device=k.device)
            bias = torch.where(own, SELF_SCORE, 0.0).to(k.dtype).expand(*k.shape[:2], -1, -1)
        count = torch.zeros_like(call.q[..., :1])
        total = count.expand(-1, -1, -1, v.shape[-1])
        for c in range(pairs.shape[2]):
            keys, values, inside, extra = k, v, pairs[:, :, c], bias
            if memory is not None:
                held = self.members(call.q)[:, :, c, :, None].expand(-1, -1, -1, memory[0].shape[2])
                slots = (x[:, c].expand(k.shape[0], -1, -1, -1) for x in memory)
                keys, values = (torch.cat([m, x], 2) for m, x in zip(slots, (k, v), strict=True))
                inside = torch.cat([held, inside], -1)
                extra = None if bias is None else F.pad(bias, (held.shape[-1], 0))
            out, lse = attend(call.q, keys, values, inside, extra, call.scale)
            total, count = total + out, count + (lse > float("-inf")).to(out.dtype)[..., None]
        return total / count.clamp(min=1)


def updated_means(means: Tensor, x: Tensor, decay: float = 0.999) -> Tensor:
    """Returns the centroids after one step of training.

    Each token of the batch goes to its nearest centroid; a cluster's new mean is the sum of its unit vectors, of unit
    length; an empty one keeps its mean; the exponential average is not normalised again. Sinks of a deployed model are
    frozen: no graph holds this.

    Args:
        means: `[H, C, D]`.
        x: Queries, or queries and keys one after the other, `[B, H, N, D]`.
        decay: Share of the old mean.
    """
    unit = F.normalize(x, dim=-1)
    nearest = F.one_hot((unit @ means.transpose(-1, -2)).argmax(-1), means.shape[1]).to(x.dtype)
    total = torch.einsum("bhnc,bhnd->hcd", nearest, unit)
    empty = nearest.sum((0, 2))[..., None] == 0
    return means * decay + torch.where(empty, means, F.normalize(total, dim=-1)) * (1 - decay)
