"""Example calls of `depthwise`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, normal, spikes


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over kernel sizes and paddings. Values on a grid of 1/8 make every sum exact."""
    if dtype == torch.bfloat16 and device.type == "cpu":  # the interpreter truncates where a GPU rounds
        return
    for kernel, padding in ((3, 0), (3, 1), (7, 3)):
        x = spikes(2, 7, 5, 20, device=device, dtype=dtype)
        w = (normal(kernel, kernel, 20, device=device) * 4).round().div(8).to(dtype)
        bias = normal(20, device=device).mul(4).round().div(8)
        yield Example(f"{kernel}x{kernel} padding {padding}", (x, w, bias), {"padding": padding})
    # By tiles, a 7x7 kernel takes half a minute to compile on a GPU: one example of it is enough.
    for kind, width in ((dtype, 9), (torch.int8, 15)):  # columns and channels of two programs each
        taps = (normal(7, 7, 34, device=device) * 4).round().div(8).to(dtype)
        shown = spikes(2, 3, width, 34, device=device, dtype=kind)
        yield Example(f"stream {kind}", (shown, taps), {"padding": 3, "path": "stream"})
    w = (normal(3, 3, 20, device=device) * 4).round().div(8).to(dtype)
    yield Example("int8", (x.to(torch.int8), w), {"padding": 1})
    counts = spikes(1, 5, 3, 20, device=device) * 3
    whole = (normal(3, 3, 20, device=device) * 40).clamp(-127, 127).round().to(torch.int8)
    row = {"scale": 2.0 ** normal(20, device=device).round() / 64, "bias": bias, "padding": 1}
    yield Example("int8 weight", (counts, whole), {**row, "path": "stream"})
    for path, limits in (("tile", {}), ("stream", {"low": -3.0, "high": 2.0})):
        yield Example(f"int8 weight, rounded, {path}", (counts, whole), {**row, "grid": 0.25, "path": path, **limits})
    few = {"scale": row["scale"], "bias": bias, "padding": 1, "grid": 0.25, "path": "dots"}
    yield Example("int8 weight, rounded, dots", (counts, whole), few)
    numbers = (normal(1, 7, 6, 20, device=device) * 90).clamp(-255, 255).round().to(torch.float16)
    limits = {"scale": row["scale"] / 64, "padding": 1, "grid": 0.125, "low": 0.0, "high": 6.0, "halves": True}
    for stride in (1, 2):
        yield Example(f"levels, stride {stride}", (numbers, whole), {**limits, "bias": bias, "stride": stride})
    yield Example("channel slice", (spikes(1, 7, 5, 40, device=device, dtype=dtype)[..., :20], w), {"padding": 1})
    part = spikes(2, 5, 9, 40, device=device, dtype=dtype)[..., :20]
    yield Example("stream, channel slice, no padding", (part, w, bias), {"path": "stream"})
    yield Example("empty", (x[:0], w), {"padding": 3})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    yield (normal(1, 7, 5, 20, device=device), normal(3, 3, 20, device=device), normal(20, device=device), 1, "tile")
    yield (normal(1, 7, 5, 20, device=device), normal(5, 5, 20, device=device), None, 2, "stream")
