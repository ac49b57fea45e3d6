"""Example calls of `spike_linear_lif`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, normal, spikes
from neurokit.kernels.pack.op import pack
from neurokit.kernels.spike_conv_lif.boxes import HALVES


def weight(cols: int, inner: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Returns a random weight whose product with spikes straddles the threshold."""
    if dtype == torch.int8:
        return (normal(cols, inner, device=device) * 30).clamp(-127, 127).round().to(torch.int8)
    return (normal(cols, inner, device=device) * 3 / inner**0.5).to(dtype)


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields fused calls over shapes, spike forms and output forms; int8 weights stand in for float32."""
    kind = torch.int8 if dtype == torch.float32 else dtype
    for steps, rows, inner, cols in ((1, 5, 32, 40), (4, 70, 48, 33), (2, 3, 200, 64)):
        s = spikes(steps, rows, inner, device=device)
        w = weight(cols, inner, device, kind)
        row = {
            "scale": (normal(cols, device=device).abs() + 0.5) * (0.02 if kind == torch.int8 else 1.0),
            "bias": normal(cols, device=device) * 0.3,
        }
        for given, form in ((s, "packed"), (pack(s), "int8"), (s.to(kind), "same")):
            yield Example(
                f"{steps}x{rows}x{inner}x{cols} {given.dtype} {form}",
                (given, w),
                {**row, "form": form, "path": "fused"},
            )
    yield Example("soft reset", (s, w), {**row, "v_reset": None, "tau": 4.0, "path": "fused"})
    state = {"v0": normal(3, 64, device=device), "want_v": True, "tau": None}
    yield Example("state", (s, w), {**row, **state, "path": "fused"})
    repeated = normal(1, 3, 64, device=device, dtype=torch.float16 if kind == torch.int8 else kind).expand(2, 3, 64)
    learnt = {"tau": None, "decay": 45 / 64}
    call = {**row, **learnt, "residual": repeated, "form": "int8", "path": "fused"}
    yield Example("residual seen twice, learnt leak", (s, w), call)
    for form, other in (("int8", torch.int8), ("same", repeated.dtype)):
        call = {**row, "beside": spikes(2, 3, 64, device=device).to(other) * 2, "form": form, "path": "fused"}
        yield Example(f"counts beside the spikes, {form}", (s, w), call)
    if kind == torch.int8:
        boxed = (spikes(3, 70, 80, device=device), weight(48, 80, device, kind))
        call = {"bias": normal(48, device=device), "scale": normal(48, device=device).abs() * 0.02, "form": "int8"}
        added = {"residual": normal(3, 70, 48, device=device), "want_current": True}
        counts = spikes(3, 70, 48, device=device) * 3
        yield Example("boxes", boxed, {**call, **added, "path": "boxes"})
        yield Example("counts beside the spikes, boxes", boxed, {**call, **added, "beside": counts, "path": "boxes"})
        rounding = {"grid": 0.125, "low": -1.0, "high": 1.5}
        yield Example("rounded, boxes", boxed, {**call, **added, **rounding, "rounds": True, "path": "boxes"})
        yield Example("rounded", boxed, {**call, **added, **rounding, "path": "fused"})
        for form, path in (("levels8", "boxes"), ("levels16", "fused")):
            numbers = {**call, **added, **rounding, "low": 0.0, "least": 0.0, "form": form, "path": path}
            yield Example(f"{form}, {path}", boxed, numbers)
    if kind in HALVES:
        yield from _box_examples(device, kind)
    yield Example("empty", (s[:, :0], w), {"path": "fused"})


def _box_examples(device: torch.device, kind: torch.dtype) -> Iterator[Example]:
    """Yields calls in 16 bits by tensor descriptors: a learnt leak and a residual, and counts beside the spikes."""
    for steps, rows, inner, cols, form in ((3, 70, 80, 48, "same"), (4, 9, 200, 40, "int8")):
        operands = (spikes(steps, rows, inner, device=device).to(kind), weight(cols, inner, device, kind))
        call = {"bias": normal(cols, device=device) * 0.3, "form": form, "path": "boxes"}
        added = {"residual": normal(steps, rows, cols, device=device, dtype=kind), "want_current": True}
        yield Example(f"boxes {inner} -> {cols} {form}", operands, {**call, **added, "tau": None, "decay": 45 / 64})
        counts = spikes(steps, rows, cols, device=device) * 3
        beside = counts if form == "int8" else counts.to(kind)
        yield Example(f"counts beside the spikes, boxes {form}", operands, {**call, "beside": beside})
    for groups, inner, cols, path in ((3, 96, 120, "boxes"), (2, 32, 128, "boxes"), (3, 40, 8, "gemm")):
        w = weight(groups * cols, inner, device, kind)
        # The vendor's product is rounded to 16 bits, which changes no small whole number.
        operands = (spikes(3, 70, groups * inner, device=device).to(kind), w.sign() if path == "gemm" else w)
        row = {"bias": normal(groups * cols, device=device) * 0.3, "form": "same", "path": path, "groups": groups}
        yield Example(f"{groups} groups of {inner} -> {cols}, {path}", operands, row)


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    s = spikes(2, 5, 32, device=device)
    row = normal(40, device=device)
    neuron = (None, 2.0, 1.0, 0.0, True)
    yield (s, weight(40, 32, device, torch.float16), row, row, None, *neuron, "packed", True, True, "fused")
    yield (pack(s), weight(40, 32, device, torch.int8), row, None, None, *neuron, "int8", False, False, "auto")
