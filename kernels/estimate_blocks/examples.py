"""Example calls of `estimate_blocks`."""

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
    block_q: int,
    block_k: int,
    device: torch.device,
) -> tuple[Tensor, ...]:
    """Returns codes with scales, a mean, a log-sum-exp and a range of blocks, the same on every device."""
    q, k = (normal(*s, device=device) for s in ((batch, heads, new, width), (batch, groups, length, width)))
    codes = [(x * 2.5).round().clamp(-7, 7).to(torch.int8) for x in (q, k)]
    scales = [0.3 + normal(*x.shape[:3], device=device).abs() * 0.1 for x in (q, k)]
    mean, lse = normal(batch, heads, length, device=device) * 3, normal(batch, heads, new, device=device, mean=6.0)
    ends = torch.arange(1, -(-new // block_q) + 1, device=device) * block_q + (length - new)
    last = ((ends.clamp(max=length) // block_k) - 1).clamp(min=0).to(torch.int32)
    tau = torch.full((heads,), 0.02, device=device)
    return (*codes, *scales, mean, lse, tau, last.clamp(max=1), last)


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields grouped heads, odd lengths and widths, chunks, and an empty call; codes are int8 whatever the type."""
    if dtype == torch.bfloat16 and device.type == "cpu":  # no tensor of a call has this type: once is enough
        return
    for label, sizes, blocks in (
        ("grouped", (1, 4, 2, 96, 96, 32), (32, 16)),
        ("odd length and width, chunk", (2, 2, 1, 50, 137, 40), (16, 32)),
    ):
        yield Example(
            label, arguments(*sizes, *blocks, device), {"scale": 0.2, "block_q": blocks[0], "block_k": blocks[1]}
        )
    if device.type != "cpu":
        yield Example("long", arguments(1, 8, 2, 2048, 2048, 128, 64, 32, device), {"scale": 0.1})
    q, k, *rest = arguments(1, 2, 1, 16, 16, 32, 16, 16, device)
    given = (q[:0], k[:0], *(x[:0] for x in rest[:4]), *rest[4:])
    yield Example("empty", given, {"scale": 0.2, "block_q": 16, "block_k": 16})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    *given, tau, first, last = arguments(1, 2, 1, 32, 32, 32, 16, 16, device)
    yield (*given, tau.log(), first, last, 0.2, 16, 16)
