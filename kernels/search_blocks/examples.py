"""Example calls of `search_blocks`: whole numbers, whose products every order of sums gives exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.attention.patterns.hip import HiP
from neurokit.kernels.contract import Example


def arguments(
    batch: int,
    heads: int,
    groups: int,
    new: int,
    length: int,
    width: int,
    device: torch.device,
    dtype: torch.dtype,
    most: int = 3,
) -> tuple[Tensor, Tensor]:
    """Returns queries and keys of whole numbers up to `most`, the same on every device; small ones make many ties."""
    generator = torch.Generator().manual_seed(length + heads)

    def drawn(count: int, tokens: int) -> Tensor:
        x = torch.randint(-most, most + 1, (batch, count, tokens, width), generator=generator)
        return x.to(device, dtype)

    return drawn(heads, new), drawn(groups, length)


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields grouped heads, odd lengths and counts, a chunk, one query, ties, no window, few keys and an empty call."""
    if dtype == torch.bfloat16 and device.type == "cpu":  # the interpreter's products of bfloat16 are no GPU's
        return
    for label, sizes, most, pattern in (
        ("grouped, many rounds", (1, 2, 1, 32, 80, 16), 3, HiP(8, 16, 2, 16)),
        ("odd length, width and count, chunk", (1, 3, 1, 13, 61, 20), 3, HiP(12, 8, 4, 6)),
        ("one query, batch", (2, 2, 1, 1, 90, 16), 3, HiP(16, 16, 4, 8)),
        ("ties", (1, 1, 1, 32, 48, 16), 1, HiP(4, 16, 1, 4)),
        ("all worth the same", (1, 1, 1, 24, 40, 16), 0, HiP(6, 8, 2, 8)),
        ("no window", (1, 2, 1, 7, 45, 16), 2, HiP(16, 4, 8, 0)),
        ("one query a block", (1, 2, 1, 2, 33, 16), 2, HiP(4, 1, 2, 3)),
    ):
        yield Example(label, (*arguments(*sizes, device, dtype, most), pattern), {})
    if device.type != "cpu":
        long = arguments(1, 4, 2, 4096, 4096, 128, device, dtype)
        yield Example("long", (*long, HiP(1024, 64, 32, 64)), {})
        yield Example("long, small blocks", (*long, HiP(256, 64, 2, 128)), {})
        yield Example("long, one query", (long[0][:, :, :1], long[1], HiP(1024, 64, 32, 64)), {})
    q, k = arguments(1, 2, 1, 20, 20, 16, device, dtype)
    yield Example("empty", (q[:, :, :0], k, HiP(4, 8, 2, 4)), {})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    yield (*arguments(1, 1, 1, 8, 12, 16, device, torch.float32), 2, 4, 1, 2, False)
