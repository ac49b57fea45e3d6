"""SALE: blocks of keys by a threshold on attention that 4-bit codes estimate, beside a sink and a local window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.attention.by_position import pairs_of
from neurokit.attention.definition import attend
from neurokit.attention.index import BlockIndex
from neurokit.attention.pattern import AttentionPattern, Call, Card, Traits, register_pattern
from neurokit.attention.patterns.sale_by_token import table
from neurokit.errors import InputError

LEVELS = 7  # symmetric 4-bit codes, -7 to 7
DENSE_BELOW = 1e-5  # a threshold below it keeps every block, as released


@dataclass(frozen=True)
class Codes:
    """Queries and keys in 4 bits, in int8; an estimate is `q_scale k_scale (q . k + round(mean / (q_scale k_scale)))`.

    Attributes:
        q: int8 `[B, H, S, D]`, of queries less their mean.
        k: int8 `[B, Hk, T, D]`, of keys less theirs.
        q_scale: float32 `[B, H, S]`.
        k_scale: float32 `[B, Hk, T]`.
        mean: The mean query times each centred key, float32 `[B, H, T]`.
    """

    q: Tensor
    k: Tensor
    q_scale: Tensor
    k_scale: Tensor
    mean: Tensor


@register_pattern
@dataclass(frozen=True)
class SALE(AttentionPattern):
    """Keeps a block where a pair's estimated weight, relative to the mass of sink and local window, passes a threshold.

    Attributes:
        thresholds: tau of each query head, or one for all; below 1e-5 every block is kept.
        block_q: Queries a block.
        block_k: Keys a block.
        window: Keys that are local at least, a multiple of `block_k`.
        segment: Keys that are scored together, a multiple of `block_k`: the window grows to a whole number of them.
        mean: "prompt" centres queries and keys by the mean over the whole prompt and refuses chunks; "first"
            takes the means of the first chunk, which the caller keeps; "frozen" takes `centre`.
        centre: Frozen means of queries and keys, `[H + Hk, D]`; None for zero.
        cap: Blocks a query at most, sink and window included; 0 for no cap.
    """

    thresholds: tuple[float, ...] = (0.004,)
    block_q: int = 64
    block_k: int = 32
    window: int = 128
    segment: int = 128
    mean: Literal["prompt", "first", "frozen"] = "prompt"
    centre: Tensor | None = None
    cap: int = 0

    dense_below: ClassVar[float] = DENSE_BELOW

    card: ClassVar[Card] = Card(
        "sale",
        "blocks of keys whose weight, estimated by 4-bit codes, passes a threshold",
        "code = round(x / scale), scale = absmax / 7, of x less its mean;  s'_ij = sq sk (q4 . k4 + round(qmean . k / "
        "(sq sk)))\nm_i, l_i = maximum and sum of exp(scale (s_ij - m_i)) over sink, local window and diagonal, exact\n"
        "keep a block if for any pair exp(scale (s'_ij - m_i)) / l_i > tau_h",
        "Ji et al., SALE, arXiv 2505.24179; BirdChristopher/SALE",
        "no licence was seen; equations and numbers only, no code taken",
        "codes as released, the rule in full precision; the mean over the prompt is named: chunks are refused, or use "
        "the first chunk's means; grouped heads are quantised once",
        "compares in half precision; its window is 160 to 224 keys where it says 128; its quantiser reads and writes "
        "out of bounds where query and key heads differ in number; up to 1,024 tokens it is dense",
        "T products of 4-bit codes a query to select (int8 where a GPU has no 4-bit ones); the kept blocks to attend",
        {
            "thresholds": "tau a query head, or one for all",
            "block_q": "queries a block",
            "block_k": "keys a block",
            "window": "local keys at least",
            "segment": "keys scored together",
            "mean": "prompt (chunks are refused), first (the first chunk's means) or frozen (those of `centre`)",
            "centre": "frozen means of queries and keys [H + Hk, D], none for zero",
            "cap": "blocks a query at most, 0 for no cap; what a query asks for beyond it is counted",
        },
    )
    traits: ClassVar[Traits] = Traits("blocks", needs_scores=True, fixed_count=False)

    def __post_init__(self) -> None:
        sizes = min(self.block_q, self.block_k, self.window, self.segment)
        if sizes < 1 or self.window % self.block_k or self.segment % self.block_k:
            raise InputError(
                f"blocks of {self.block_q} x {self.block_k}, window {self.window}, segment {self.segment}",
                expected="sizes of at least 1; block_k divides window and segment",
            )
        least = (self.window + self.segment) // self.block_k
        if self.cap and (self.cap < least or not self.by_row):
            raise InputError(
                f"a cap of {self.cap} blocks with block_q={self.block_q}, mean={self.mean}, window={self.window}",
                expected=f"no cap (0), or at least {least} blocks with {self.in_layers}",
            )
        if self.mean not in ("prompt", "first", "frozen"):
            raise InputError(f"mean is {self.mean!r}", expected="prompt, first or frozen")
        if not self.thresholds or not all(t >= 0 and math.isfinite(t) for t in self.thresholds):
            raise InputError(f"thresholds are {list(self.thresholds)[:4]}", expected="numbers of at least 0")

    @classmethod
    def samples(cls) -> list[AttentionPattern]:
        """Returns small instances for the contract tests."""
        return [cls((0.02,), 4, 2, 4, 4), cls((0.5, 0.1, 0.02, 0.0), 4, 4, 4, 8), cls((0.2,), 1, 2, 34, 2, "frozen")]

    def whole(self, length: int) -> SALE:
        """Returns a threshold that keeps everything."""
        return replace(self, thresholds=(0.0,), cap=0)

    @property
    def by_row(self) -> bool:
        """One query a block, frozen means, and no key that is estimated before its tile of 32 is complete."""
        return self.block_q == 1 and self.mean == "frozen" and self.window >= self.block_k + 32

    @property
    def step_safe(self) -> bool:
        """Nothing that decides depends on how a text is cut then."""
        return self.by_row

    @property
    def in_layers(self) -> str:
        """The settings with which a layer can have it."""
        return f"block_q=1, mean=frozen, window>={self.block_k + 32}"

    def parameter(self, heads: int, groups: int, width: int) -> tuple[str, Tensor] | None:
        """Returns the frozen means, zero at first."""
        return ("centre", torch.zeros(heads + groups, width)) if self.mean == "frozen" else None

    def slots(self, length: int) -> int:
        """Returns the blocks that a row lists at most."""
        every = -(-length // self.block_k)
        return min(self.cap, every) if self.cap else every

    @property
    def tile(self) -> tuple[int, int]:
        """Queries and keys of a block."""
        return self.block_q, self.block_k

    def means(self, call: Call) -> tuple[Tensor, Tensor]:
        """Returns the means of a call's queries and keys, `[B, H, 1, D]` and `[B, Hk, 1, D]`."""
        return call.q.mean(2, keepdim=True), call.k.mean(2, keepdim=True)

    def codes(self, call: Call, means: tuple[Tensor, Tensor] | None = None) -> Codes:
        """Returns the codes of a call.

        Raises:
            InputError: If the call is a chunk and no means are given, or `mean` is "prompt".
        """
        if call.new != call.length and (means is None or self.mean == "prompt"):
            raise InputError(
                f"pattern 'sale' centres by the mean over the prompt, and {call.new} of {call.length} tokens came",
                expected="the whole prompt at once",
                fix="mean='first', and the first chunk's means",
            )
        q_mean, k_mean = self.means(call) if means is None else means
        q, k = call.q - q_mean, call.k - k_mean
        mean = torch.einsum("bgrd,bgtd->bgrt", q_mean.view(*call.grouped_q().shape[:3], -1), k).flatten(1, 2)
        # Rows r and r + 8 of 16 share a scale, and so do the keys of 32 whose (j mod 8) // 2 is equal.
        q_code, q_scale = _quantised(q, 16, lambda at: at % 8)
        k_code, k_scale = _quantised(k, 32, lambda at: at % 8 // 2)
        return Codes(q_code, k_code, q_scale, k_scale, mean)

    def estimate(self, codes: Codes) -> Tensor:
        """Returns the estimated products, before their scale, `[B, H, S, T]`."""
        batch, heads, new, width = codes.q.shape
        groups, length = codes.k.shape[1:3]
        kind = codes.q_scale.dtype
        rows = codes.q.to(kind).view(batch, groups, -1, width)
        whole = (rows @ codes.k.to(kind).transpose(-1, -2)).view(batch, heads, new, length)
        step = codes.q_scale[..., None] * codes.k_scale.repeat_interleave(heads // groups, 1)[:, :, None]
        return step * (whole + (codes.mean[:, :, None] / step).round())

    def geometry(self, call: Call) -> tuple[Tensor, Tensor]:
        """Returns the blocks that are exact (sink, window, diagonal) and those that are estimated, bool `[Q, K]`."""
        offset, device = call.length - call.new, call.k.device
        last = ((torch.arange(-(-call.new // self.block_q), device=device) + 1) * self.block_q).clamp(max=call.new)
        total = -(-(last + offset) // self.block_k)  # blocks up to the end of the queries
        segment = self.segment // self.block_k
        estimated = ((total - 1 - self.window // self.block_k).clamp(min=0) // segment) * segment
        index = torch.arange(-(-call.length // self.block_k), device=device)
        scored = (index >= 1) & (index < 1 + estimated[:, None])
        return (index < total[:, None]) & ~scored, scored

    def reference_mass(self, call: Call, means: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Returns the log-sum-exp over sink, window and diagonal, `[B, H, S]`.

        Its keys are centred, as those of the estimate: a constant a row, which a softmax would not see.
        """
        near = self._pairs(self.geometry(call)[0], call) & call.seen()
        k_mean = (self.means(call) if means is None else means)[1]
        return attend(call.q, call.k - k_mean, call.v, near[None, None], None, call.scale)[1]

    def relative(self, call: Call, codes: Codes, means: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Returns the largest relative weight of every estimated block, `[B, H, Q, K]`, minus infinity elsewhere."""
        scored, lse = self.geometry(call)[1], self.reference_mass(call, means)
        ratio = (self.estimate(codes) * call.factor - lse[..., None]).masked_fill(~call.seen(), float("-inf"))
        pads = (0, -call.length % self.block_k, 0, -call.new % self.block_q)
        tiles = F.pad(ratio, pads, value=float("-inf")).unflatten(-1, (-1, self.block_k))
        return tiles.unflatten(2, (-1, self.block_q)).amax((3, 5)).exp().masked_fill(~scored, float("-inf"))

    def blocks(self, call: Call, means: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Returns the table of blocks, bool `[B, H, Q, K]`; `means` are the first chunk's where the call is a chunk."""
        if not call.causal:
            raise InputError("pattern 'sale' has a window before each query", expected="causal attention")
        heads = call.q.shape[1]
        if self.mean == "frozen" and not self.by_row:
            raise InputError("pattern 'sale' has frozen means for single queries", expected=self.in_layers)
        if len(self.thresholds) not in (1, heads):
            raise InputError(f"{len(self.thresholds)} thresholds for {heads} heads", expected="one, or one a head")
        if self.by_row:
            return table(self, call)[0]
        exact, scored = self.geometry(call)
        tau = torch.tensor(self.thresholds, dtype=call.q.dtype, device=call.q.device).view(1, -1, 1, 1)
        passed = self.relative(call, self.codes(call, means), means) > tau
        return exact | (scored & (passed | (tau < DENSE_BELOW)))

    def capped(self, call: Call) -> tuple[Tensor, Tensor | None]:
        """Returns the table, and how many blocks more each query asked for."""
        return table(self, call) if self.cap else (self.blocks(call), None)

    def scored(self, length: int) -> int:
        """Returns the keys, whose codes are all multiplied."""
        return length

    def select(self, call: Call, means: tuple[Tensor, Tensor] | None = None) -> BlockIndex:
        """Returns the set of every block of queries."""
        return BlockIndex.from_blocks(self.blocks(call, means), call.new, call.length, self.block_q, self.block_k)

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that count, `[B, H, S, T]`."""
        if self.by_row:
            return pairs_of(self.blocks(call), call, self.block_k)
        return self._pairs(self.blocks(call), call) & call.seen()

    def _pairs(self, blocks: Tensor, call: Call) -> Tensor:
        wide = blocks.repeat_interleave(self.block_q, -2).repeat_interleave(self.block_k, -1)
        return wide[..., : call.new, : call.length]


def _quantised(x: Tensor, tile: int, group: object) -> tuple[Tensor, Tensor]:
    """Returns 4-bit codes `[B, heads, N, D]` and each row's scale `[B, heads, N]`, shared within groups of a tile."""
    length = x.shape[2]
    padded = F.pad(x, (0, 0, 0, -length % tile)).unflatten(2, (-1, tile))
    largest = padded.abs().amax(-1)  # [B, heads, tiles, tile]
    member = torch.tensor([group(at) for at in range(tile)], device=x.device)  # type: ignore[operator]
    same = member[:, None] == member
    scale = largest[..., None, :].masked_fill(~same, 0.0).amax(-1) / LEVELS
    scale = scale.flatten(2)[:, :, :length]
    codes = (x / scale.masked_fill(scale == 0, 1.0)[..., None]).round().clamp(-LEVELS, LEVELS)
    return codes.to(torch.int8), scale.masked_fill(scale == 0, 1.0)


def calibrate(pattern: SALE, calls: Sequence[Call], error: float = 0.4, start: float = 0.008) -> SALE:
    """Returns the pattern with a threshold a head, halved until the output of every call is near enough.

    A head's threshold is halved while the sum of |dense - sparse| over its outputs is more than `error` a query, and
    0 from 1e-4 on, the rule of the released code. It runs on the host, before a graph is made.

    Args:
        pattern: The pattern.
        calls: Prompts to calibrate on.
        error: Allowed sum of absolute errors a query.
        start: Threshold to begin with.

    Raises:
        InputError: If there is no call.
    """
    if not calls:
        raise InputError("no prompt to calibrate on", expected="at least one")
    taus = [start] * calls[0].q.shape[1]
    while True:
        tried = replace(pattern, thresholds=tuple(taus))
        wrong = set()
        for call in calls:
            dense, _ = attend(call.q, call.k, call.v, call.seen()[None, None], None, call.scale)
            off = (tried.attend(call) - dense).abs().sum((2, 3)).amax(0)
            wrong |= {h for h, value in enumerate(off.tolist()) if value > error * call.new and taus[h] > 0}
        if not wrong:
            return tried
        for head in wrong:
            taus[head] = taus[head] / 2 if taus[head] / 2 > 1e-4 else 0.0
