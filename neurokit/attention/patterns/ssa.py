"""SSA: a few blocks of keys a query, by the query's products with the mean key of each block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

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
    traits: ClassVar[Traits] = Traits("blocks", per_query=True, needs_scores=True, causal_safe=True)

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
        """Returns what each block is worth to each query, `[B, Hk, S, blocks]`; minus infinity from its own on."""
        k = call.k
        blocks = -(-call.length // self.block)
        padded = torch.nn.functional.pad(k, (0, 0, 0, blocks * self.block - call.length))
        means = padded.unflatten(2, (blocks, self.block)).mean(3)
        scores = torch.einsum("bgrsd,bgnd->bgrsn", call.grouped_q(), means) * call.factor
        place = torch.arange(call.new, device=k.device) + (call.length - call.new)
        index = torch.arange(blocks, device=k.device)
        complete = index < ((place + 1) // self.block)[:, None]
        lse = scores.masked_fill(~complete, float("-inf")).logsumexp(-1, keepdim=True)
        before = index < (place // self.block)[:, None]
        worth = (scores - lse.masked_fill(lse == float("-inf"), 0.0)).exp().sum(2)
        return worth.masked_fill(~before, float("-inf"))

    def blocks(self, call: Call) -> Tensor:
        """Returns the table of blocks, bool `[B, Hk, S, blocks]`."""
        self._causal(call)
        place = torch.arange(call.new, device=call.k.device) + (call.length - call.new)
        index = torch.arange(-(-call.length // self.block), device=call.k.device)
        own = index == (place // self.block)[:, None]
        return largest_mask(self.importance(call), self.count - 1) | own

    def visible(self, call: Call) -> Tensor:
        """Returns the pairs that count, `[B, Hk, S, T]`."""
        wide = self.blocks(call).repeat_interleave(self.block, -1)[..., : call.length]
        return wide & call.seen()

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
