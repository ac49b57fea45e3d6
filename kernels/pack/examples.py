"""Example calls of `pack` and `unpack`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, spikes
from neurokit.kernels.pack.op import pack


def pack_examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over widths, with strides and without elements."""
    for shape in ((1,), (3, 31), (2, 5, 32), (2, 3, 4, 70)):
        yield Example(f"{shape}", (spikes(*shape, device=device, dtype=dtype),))
    yield Example("strided", (spikes(4, 128, device=device, dtype=dtype)[:, ::2],))
    yield Example("bool", (spikes(4, 65, device=device).bool(),))
    yield Example("empty", (spikes(0, 40, device=device, dtype=dtype),))


def unpack_examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over widths; every bit of a word is set somewhere."""
    for size in (1, 31, 32, 70):
        words = torch.tensor([[-1, 1, -(2**31)], [5, 0, 2**31 - 1]], dtype=torch.int32, device=device)
        yield Example(f"{size}", (words[:, : -(-size // 32)], size, dtype))
    yield Example("empty", (words[:0], 70, dtype))


def pack_op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields an argument tuple of `pack`."""
    yield (spikes(2, 9, 40, device=device),)


def unpack_op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields an argument tuple of `unpack`."""
    yield (pack(spikes(2, 9, 40, device=device)), 40, torch.float16)
