"""Example calls of `select_blocks`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels.contract import Example, normal


def arguments(
    batch: int,
    heads: int,
    groups: int,
    new: int,
    length: int,
    width: int,
    block: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Returns the last queries of a text and the means of its blocks, the same on every device."""
    q = normal(batch, heads, new, width, device=device).to(dtype)
    return q, normal(batch, groups, -(-length // block), width, device=device).to(dtype)


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields grouped heads, odd lengths and widths, a chunk, few and many blocks, equal worths, and an empty call."""
    if dtype == torch.bfloat16 and device.type == "cpu":  # the interpreter's products of bfloat16 are no GPU's
        return
    for label, sizes, block, count in (
        ("grouped", (1, 4, 2, 24, 24, 32), 4, 3),
        ("odd length, width and group, chunk", (2, 3, 1, 5, 37, 40), 4, 3),
        ("its own alone", (1, 2, 1, 10, 10, 16), 4, 1),
        ("more than there are", (1, 2, 2, 12, 12, 16), 4, 9),
    ):
        given = arguments(*sizes, block, device, dtype)
        yield Example(label, given, {"block": block, "count": count, "offset": sizes[4] - sizes[3]})
    q, means = arguments(1, 2, 1, 20, 20, 16, 4, device, dtype)
    yield Example("all worth the same", (q, means * 0), {"block": 4, "count": 4})
    if device.type != "cpu":
        long = arguments(1, 8, 2, 2048, 2048, 128, 16, device, dtype)
        yield Example("long", long, {"block": 16, "count": 16})
    yield Example("empty", (q[:, :, :0], means), {"block": 4, "count": 4})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    q, means = arguments(1, 2, 1, 16, 16, 16, 4, device, torch.float32)
    yield q, means, 0.25, 4, 2, 0
