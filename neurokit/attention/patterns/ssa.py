"""SSA: a few blocks of keys a query, by the query's products with the mean key of each block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from neurokit.attention.by_position import keys_by_position, pairs_of
from neurokit.attention.choose import largest_mask
from neurokit.attention.index import BlockIndex
from neurokit.attention.pattern import AttentionPattern, Call, Card, Traits, register_pattern
from neurokit.errors import InputError


@register_pattern
@dataclass(frozen=True)
class SSA(AttentionPattern):
    """The block of a query's own position, and the `count` - 1 blocks before it that matter most to its group of heads.

    Attributes:
        block: Keys a block.
        count: Blocks a query, its own included.
    """

    block: int = 16
    count: int = 16

    card: ClassVar[Card] = Card(
        "ssa",
        "blocks of keys a query, by the mean key of each block",
        "importance(t, b) = sum over the group's heads of exp(scale q_t . mean(k in b) - lse_t)\n"
        "lse_t over the blocks that are complete at t; set(t) = own block and the count - 1 largest before it",
        "Shen et al., SSA: Sparse Sparse Attention, arXiv 2511.20102; zhenyi4/ssa, hf_files/parallel.py",
        "MIT; equations only, no code taken",
        "exact top-k of the importance, ties to the lower block, the own block always in",
        "ranks blocks in chunks and merges halves: with count > block / 2 and more than `block` blocks the set is not "
        "the top-k (454 of 1,024 rows of its own configuration at 512 tokens), and some rows get fewer blocks",
        "T / block products to select, count * block products to attend; count * block keys and values read",
        {"block": "keys a block", "count": "blocks a query, its own included"},
    )
    traits: ClassVar[Traits] = Traits("blocks", per_query=True, needs_scores=True, causal_safe=True, by_row=True)

    def __post_init__(self) -> None:
        if self.block < 1 or self.count < 1:
            raise InputError(f"block={self.block}, count={self.count}", expected="at least 1 each")

    @classmethod
    def samples(cls) -> list[AttentionPattern]:
        """Returns small instances for the contract tests."""
        return [cls(4, 2), cls(8, 3)]

    def whole(self, length: int) -> SSA:
        """Returns a budget of `length` keys."""
        return replace(self, count=-(-length // self.block))

    @property
    def tile(self) -> tuple[int, int]:
        """Queries and keys of a block."""
        return 1, self.block

    def slots(self, length: int) -> int:
        """Returns the blocks that a row lists at most."""
        return min(self.count, -(-length // self.block))

    def importance(self, call: Call) -> Tensor:
        """Returns what each block is worth to each query, `[B, Hk, S, blocks]`; minus infinity from its own on.

        Blocks begin with the first token of a row, not with its padding.
        """
        means = self._block_means(call)
        scores = torch.einsum("bgrsd,bgnd->bgrsn", call.grouped_q(), means) * call.factor
        place = call.places()[:, None, :, None]
        index = torch.arange(means.shape[2], device=means.device)
        complete = index < (place + 1) // self.block
        lse = scores.masked_fill(~complete[:, :, None], float("-inf")).logsumexp(-1, keepdim=True)
        worth = (scores - lse.masked_fill(lse == float("-inf"), 0.0)).exp().sum(2)
        return worth.masked_fill(index >= place // self.block, float("-inf"))

    def blocks(self, call: Call) -> Tensor:
        """Returns the table of blocks, bool `[B, Hk, S, blocks]`."""
        self._causal(call)
        worth = self.importance(call)
        index = torch.arange(worth.shape[-1], device=worth.device)
        own = index == call.places()[:, None, :, None] // self.block
        return torch.logical_or(largest_mask(worth, self.count - 1), own)

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that count, `[B, Hk, S, T]`."""
        return pairs_of(self.blocks(call), call, self.block)

    def _block_means(self, call: Call) -> Tensor:
        """Returns the mean key of each block, `[B, Hk, blocks, D]`; what a block lacks at the end counts as zero."""
        keys, exists = keys_by_position(call, self.block)
        keys = keys * exists[:, None, :, None].to(keys.dtype)
        return keys.view(keys.shape[0], keys.shape[1], -1, self.block, keys.shape[3]).mean(3)

    def scored(self, length: int) -> int:
        """Returns the blocks whose means are multiplied."""
        return -(-length // self.block)

    def select(self, call: Call) -> BlockIndex:
        """Returns the set, one query a block of queries."""
        return BlockIndex.from_blocks(self.blocks(call), call.new, call.length, 1, self.block)

    def _causal(self, call: Call) -> None:
        if not call.causal:
            raise InputError("pattern 'ssa' takes the blocks before a query", expected="causal attention")


def alignment_loss(full: Tensor, sparse: Tensor) -> Tensor:
    """Returns the loss that draws full and sparse outputs of a layer to each other, each with the other held fixed.

    SmoothL1(full, sg(sparse)) + SmoothL1(sg(full), sparse), means over all elements, on the outputs of the heads after
    their gate and before the output projection. It is for training alone.

    Args:
        full: Outputs of dense attention `[..., D]`.
        sparse: Outputs over the selected blocks, of the same shape.
    """
    towards = torch.nn.functional.smooth_l1_loss
    return towards(full, sparse.detach()) + towards(full.detach(), sparse)
