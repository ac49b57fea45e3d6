"""Example calls of `sdsa_lif`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, spikes
from neurokit.kernels.pack.op import pack


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over head widths, token counts and output forms."""
    for steps, batch, tokens, dim, heads, rate in (
        (2, 1, 70, 64, 2, 0.05),
        (3, 1, 20, 80, 1, 0.12),
        (1, 2, 33, 45, 2, 0.1),
        (2, 1, 18, 60, 1, 0.12),
    ):
        channels = dim * heads
        q, k, v = (
            spikes(steps, batch, tokens + i, channels, rate=rate, device=device, dtype=dtype)[:, :, i:]
            for i in range(3)
        )
        for form in ("same", "packed"):
            label = f"{steps}x{batch}x{tokens} {heads}x{dim} {form}"
            yield Example(label, (q, k, v, heads), {"form": form, "threshold": 0.5})
        if dtype == torch.float16:
            words = (pack(q), pack(k), pack(v), heads)
            yield Example(f"packed input {heads}x{dim}", words, {"channels": channels})
            whole = (q.to(torch.int8), k.to(torch.int8), v.to(torch.int8), heads)
            yield Example(f"int8 input {heads}x{dim}", whole, {"tau": None, "v_reset": None})
    wide = spikes(2, 1, 20, 288, rate=0.1, device=device, dtype=dtype).chunk(3, -1)
    yield Example("slices of one tensor", (*wide, 2), {"form": "int8", "threshold": 0.1})
    one = spikes(2, 1, 20, 288, rate=0.1, device=device, dtype=dtype)
    parts = {"channels": 96, "columns": (96, 0, 192), "form": "int8", "threshold": 0.1}
    yield Example("one tensor of all three", (one, one, one, 2), parts)
    leak = {"tau": None, "decay": 45 / 64, "form": "int8"}
    yield Example("learnt leak", (q, k, v, heads), leak)
    yield Example("empty", (q[:, :0], k[:, :0], v[:, :0], heads), {})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    q, k, v = (spikes(2, 1, 9, 64, rate=0.1 * i, device=device, dtype=torch.float32) for i in (1, 2, 3))
    tail = (0.125, 2.0, 0.5, 0.0, True)
    yield (q.requires_grad_(), k, v, 64, 2, *tail, "same", "sigmoid", 4.0, False)
    yield (q.detach(), k, v, 64, 2, *tail, "packed", "atan", 2.0, True)
