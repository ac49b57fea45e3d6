"""Example calls of `sparse_decode`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.attention.index import BlockIndex
from neurokit.attention.tokens import TokenSet
from neurokit.kernels.contract import Example, normal


def random_tokens(batch: int, heads: int, length: int, share: float, device: torch.device) -> TokenSet:
    """Returns a random set for one query, the same on every device."""
    chosen = torch.rand(batch, heads, 1, length, generator=torch.Generator().manual_seed(length + heads)) < share
    made = TokenSet.from_dense(chosen, 1)
    return TokenSet(made.idx.to(device), made.num.to(device), 1, length)


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields sets of tokens and blocks, grouped heads, odd widths, an empty set and an empty call."""
    if dtype == torch.bfloat16 and device.type == "cpu":  # the interpreter truncates where a GPU rounds
        return

    def of(
        label: str, batch: int, heads: int, groups: int, length: int, keys: Any, width: int = 16, **more: Any
    ) -> Example:
        q = normal(batch, heads, width, device=device, dtype=dtype)
        k = normal(batch, groups, length, width, device=device, dtype=dtype)
        v = normal(batch, groups, length, width - 4, device=device, dtype=dtype)
        if more.pop("bias", False):
            more["key_bias"] = normal(batch, groups, length, device=device)
        return Example(label, (q, k, v, keys), more)

    yield of("tokens", 2, 6, 2, 90, random_tokens(2, 2, 90, 0.4, device), bias=True)
    yield of("tokens, scores", 1, 4, 4, 150, random_tokens(1, 1, 150, 0.9, device), 24, scores=True, scale=0.4)
    yield of("a list a query head", 1, 4, 2, 60, random_tokens(1, 4, 60, 0.5, device), bias=True, scores=True)
    yield of("no token", 1, 2, 1, 20, random_tokens(1, 1, 20, 0.0, device))
    table = torch.rand(1, 2, 1, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    yield of("blocks", 1, 8, 2, 90, BlockIndex.from_blocks(table, 1, 90, 1, 16).to(device), scores=True)
    if device.type != "cpu":
        yield of("many tokens", 2, 32, 8, 9000, random_tokens(2, 8, 9000, 0.3, device), 128)
    yield of("empty", 0, 2, 1, 20, random_tokens(1, 1, 20, 0.5, device))


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    idx = torch.tensor([[[0, 3, 4], [1, 2, 0]]], dtype=torch.int32, device=device)
    num = torch.tensor([[3, 2]], dtype=torch.int32, device=device)
    q, k = normal(1, 4, 16, device=device), normal(1, 2, 8, 16, device=device)
    yield (q, k, k + 1, idx, num, None, 0.25, 1, False)
    yield (q, k, k + 1, idx, num, normal(1, 2, 8, device=device), 0.25, 1, True)
