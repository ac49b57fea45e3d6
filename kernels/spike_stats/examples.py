"""Example calls of `spike_stats`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, spikes
from neurokit.kernels.pack.op import pack


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over widths and row counts; the dtype does not matter."""
    for steps, rows, channels in ((1, 1, 1), (2, 300, 40), (3, 17, 600)):
        words = pack(spikes(steps, rows, channels, device=device))
        yield Example(
            f"{steps}x{rows}x{channels}", (words, channels), {"fanout": torch.arange(channels, device=device)}
        )
    # Every bit set: the narrow counters inside must not overflow.
    yield Example("all ones", (torch.full((1, 5000, 1), -1, dtype=torch.int32, device=device), 32), {})
    yield Example("empty", (words[:, :0], 600), {})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields an argument tuple of the operator."""
    yield (pack(spikes(2, 9, 40, device=device)), 40)
