"""Example calls of `spike_gemv_lif`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, normal, spikes
from neurokit.kernels.pack.op import pack
from neurokit.kernels.spike_linear_lif.examples import weight


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over shapes and spike forms; int8 weights stand in for float32."""
    kind = torch.int8 if dtype == torch.float32 else dtype
    for steps, rows, inner, cols in ((4, 1, 200, 70), (1, 2, 33, 16), (17, 1, 40, 40)):
        s = spikes(steps, rows, inner, rate=0.2, device=device)
        w = weight(cols, inner, device, kind).t().contiguous()
        scale = (normal(cols, device=device).abs() + 0.5) * (0.02 if kind == torch.int8 else 1.0)
        for given in (s, pack(s)):
            yield Example(
                f"{steps}x{rows}x{inner}x{cols} {given.dtype}", (given, w), {"scale": scale, "path": "gather"}
            )
    yield Example("bias, soft reset", (s, w), {"bias": normal(cols, device=device), "v_reset": None, "path": "gather"})
    yield Example("empty", (s[:, :0], w), {"path": "gather"})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields an argument tuple of the operator."""
    w = weight(40, 33, device, torch.float16).t().contiguous()
    yield (spikes(2, 1, 33, device=device), w, normal(40, device=device), None, 2.0, 1.0, 0.0, True)
