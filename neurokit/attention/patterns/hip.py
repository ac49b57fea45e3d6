"""HiP: a tree search for the best key blocks of a block of queries, in a logarithmic number of rounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from neurokit.attention.by_position import pairs_of
from neurokit.attention.choose import largest_mask
from neurokit.attention.index import BlockIndex
from neurokit.attention.pattern import AttentionPattern, Call, Card, Traits, register_pattern
from neurokit.attention.patterns.hip_by_token import search
from neurokit.errors import InputError


@register_pattern
@dataclass(frozen=True)
class HiP(AttentionPattern):
    """Halves chunks of keys, keeping the best; what is left are key blocks, beside a window of the latest keys.

    Attributes:
        count: Keys that the search keeps, a multiple of `block_k`.
        block_q: Queries that share a search.
        block_k: Keys a block.
        window: Latest keys, up to the end of the block of queries, that are kept without a search.
        longest: Largest number of tokens that a graph is unrolled for; 0 for what a call has.
    """

    count: int = 512
    block_q: int = 64
    block_k: int = 2
    window: int = 64
    longest: int = 0

    card: ClassVar[Card] = Card(
        "hip",
        "a tree search for the best blocks of keys",
        "B = candidate blocks, W = count / block_k chunks with bounds floor(B / W i); ceil(log2(B / W)) rounds of:\n"
        "split each chunk at start + floor(size / 2), score each half by the maximum of q . k over every second query "
        "and\nthe keys of its first block, keep the best W halves; at the end the first block of each chunk is kept",
        "Lee et al., HiP Attention, arXiv 2406.09827, ICLR 2025; DeepAuto-AI/hip-attention",
        "FSL-1.1-MIT: not free for competing use; own code from the equations, numbers of version 1.1 as oracle",
        "the search of version 1.1, causality applied afterwards, rounds and scores counted; ties to the lower chunk",
        "keys up to the end of the block of queries are candidates, so later tokens of the block decide; the rounds "
        "are counted on real sizes, so a chunk can end longer than a block: its first block stays; version 1.2 (chunk "
        "stages, sinks, second stage) is not built",
        "2 W block_k products a round and sampled query, ceil(log2(T / count)) rounds; count + window keys read; with "
        "one query a block, as layers and graphs have it, the scores of all keys are computed",
        {
            "count": "keys that the search keeps",
            "block_q": "queries that share a search",
            "block_k": "keys a block",
            "window": "latest keys kept without a search",
            "longest": "tokens that a graph is unrolled for, 0 for those of a call",
        },
    )
    traits: ClassVar[Traits] = Traits("blocks", needs_scores=True, longest=True)

    def __post_init__(self) -> None:
        least = min(self.count, self.block_q, self.block_k)
        if least < 1 or min(self.window, self.longest) < 0 or self.count % self.block_k:
            raise InputError(
                f"count={self.count}, block_q={self.block_q}, block_k={self.block_k}, window={self.window}",
                expected="sizes of at least 1, a count that block_k divides, a window of at least 0",
            )

    @classmethod
    def samples(cls) -> list[AttentionPattern]:
        """Returns small instances for the contract tests."""
        return [cls(8, 8, 2, 8), cls(6, 4, 1, 4), cls(4, 1, 2, 3)]

    def whole(self, length: int) -> HiP:
        """Returns a budget of `length` keys."""
        return replace(self, count=-(-length // self.block_k) * self.block_k)

    @property
    def by_row(self) -> bool:
        """One query a block is searched for by positions alone."""
        return self.block_q == 1

    @property
    def step_safe(self) -> bool:
        """A query that is searched for alone sees no later key."""
        return self.block_q == 1

    @property
    def in_layers(self) -> str:
        """The settings with which a layer can have it."""
        return "block_q=1"

    @property
    def tile(self) -> tuple[int, int]:
        """Queries and keys of a block."""
        return self.block_q, self.block_k

    def slots(self, length: int) -> int:
        """Returns the blocks that a row lists at most."""
        return min((self.count + self.window + self.block_q) // self.block_k + 2, -(-length // self.block_k))

    def candidates(self, at: int, new: int, length: int) -> int:
        """Returns how many keys block `at` of the queries searches."""
        return max(min((at + 1) * self.block_q, new) + length - new - self.window, 0)

    def rounds(self, candidates: int) -> int:
        """Returns the rounds of a search."""
        size, count = -(-candidates // self.block_k) / (self.count // self.block_k), 0
        while candidates > self.count and size > 1:
            size, count = size / 2, count + 1
        return count

    def work(self, new: int, length: int) -> int:
        """Returns the products of queries and keys that all searches of one head compute."""
        total = 0
        for at in range(-(-new // self.block_q)):
            rows = min(self.block_q, new - at * self.block_q)
            total += self.rounds(self.candidates(at, new, length)) * 2 * self.count * max(rows // 2, 1)
        return total

    def blocks(self, call: Call) -> Tensor:
        """Returns the table of blocks, bool `[B, H, ceil(S / block_q), ceil(T / block_k)]`."""
        if not call.causal:
            raise InputError("pattern 'hip' searches the keys up to a block of queries", expected="causal attention")
        if self.block_q == 1:
            return search(self, call, self.rounds(self.longest or call.length))
        group = call.q.shape[1] // call.k.shape[1]
        keys = call.k.repeat_interleave(group, 1)
        pad = -call.length % self.block_k
        keys = torch.nn.functional.pad(keys, (0, 0, 0, pad)).unflatten(2, (-1, self.block_k))
        index = torch.arange(keys.shape[2], device=keys.device)
        rows = []
        for at in range(-(-call.new // self.block_q)):
            held = self.candidates(at, call.new, call.length)
            found = self._search(call.q[:, :, at * self.block_q : (at + 1) * self.block_q], keys, held, call.length)
            end = -(-(held + self.window) // self.block_k)
            rows.append(found | ((index >= held // self.block_k) & (index < end)))
        return torch.stack(rows, 2)

    def scored(self, length: int) -> int:
        """Returns what a search for one query multiplies."""
        return self.work(1, length)

    def select(self, call: Call) -> BlockIndex:
        """Returns the set of every block of queries."""
        return BlockIndex.from_blocks(self.blocks(call), call.new, call.length, self.block_q, self.block_k)

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that count, `[B, H, S, T]`."""
        if self.block_q == 1:
            return pairs_of(self.blocks(call), call, self.block_k)
        wide = self.blocks(call).repeat_interleave(self.block_q, 2).repeat_interleave(self.block_k, 3)
        return wide[:, :, : call.new, : call.length] & call.seen()

    def _search(self, q: Tensor, keys: Tensor, held: int, length: int) -> Tensor:
        """Returns the blocks that a search of the first `held` keys keeps, bool `[B, H, blocks]`."""
        blocks, kept = -(-held // self.block_k), self.count // self.block_k
        index = torch.arange(keys.shape[2], device=keys.device)
        if held <= self.count:
            return (index < blocks).expand(*q.shape[:2], -1)
        edges = torch.tensor([int(blocks / kept * i) for i in range(kept + 1)], device=q.device)
        start = edges[:-1].expand(*q.shape[:2], -1)
        size = edges.diff().expand(*q.shape[:2], -1)
        sampled = q[:, :, 1::2] if q.shape[2] > 1 else q
        # Every block's score; a search on a GPU computes those that it looks at.
        scores = torch.einsum("bhsd,bhnkd->bhnsk", sampled, keys).flatten(3)
        exists = torch.arange(keys.shape[2] * self.block_k, device=q.device) < length
        gone = ~exists.view(-1, 1, self.block_k).expand(-1, sampled.shape[2], -1).flatten(1)
        scores = scores.masked_fill(gone, float("-inf")).amax(-1)
        for _ in range(self.rounds(held)):
            half = size // 2
            start = torch.stack([start, start + half], -1).flatten(-2)
            size = torch.stack([half, size - half], -1).flatten(-2)
            worth = scores.gather(-1, start.clamp(max=keys.shape[2] - 1)).masked_fill(size == 0, -32000.0)
            # Halves stay in the order of their positions.
            order = torch.sort((~largest_mask(worth, kept)).to(torch.int32), dim=-1, stable=True).indices[..., :kept]
            start, size = start.gather(-1, order), size.gather(-1, order)
        return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, start, True)
