"""Example calls of `spike_conv_lif`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, normal, spikes
from neurokit.kernels.spike_conv_lif.borders import corrections


def weight(cols: int, kernel: int, channels: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Returns a random weight whose convolution of spikes straddles the threshold."""
    w = normal(cols, kernel, kernel, channels, device=device)
    if dtype == torch.int8:
        return (w * 30).clamp(-127, 127).round().to(torch.int8)
    return (w * 3 / (kernel * channels**0.5)).to(dtype)


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields fused calls over kernels, strides and output forms; int8 weights stand in for float32."""
    kind = torch.int8 if dtype == torch.float32 else dtype
    for kernel, stride, padding, channels, cols, form in (
        (1, 1, 0, 16, 64, "same"),
        (3, 1, 1, 20, 33, "packed"),
        (3, 2, 1, 48, 40, "int8"),
    ):
        s = spikes(2, 1, 7, 5, channels, device=device)
        w = weight(cols, kernel, channels, device, kind)
        row = {
            "scale": (normal(cols, device=device).abs() + 0.5) * (0.02 if kind == torch.int8 else 1.0),
            "bias": normal(cols, device=device) * 0.3,
        }
        call = {**row, "stride": stride, "padding": padding, "form": form, "path": "fused"}
        if kind == torch.int8 and stride == 2:
            call |= {"grid": 0.25, "rounds": True, "want_current": True}
        if form == "packed":
            call |= {"tau": None, "decay": 45 / 64}
        else:
            call["beside"] = _beside(s, kernel, stride, cols, form, kind)
        yield Example(f"{kernel}x{kernel} stride {stride} {channels} -> {cols} {form}", (s, w), call)
    if kind == torch.int8:
        yield from box_examples(device)
    yield Example("empty", (s[:, :0], w), {"path": "fused"})


def _beside(s: torch.Tensor, kernel: int, stride: int, cols: int, form: str, kind: torch.dtype) -> torch.Tensor:
    """Returns counts that are added to the spikes of a padded convolution."""
    steps, batch, *sides, _ = s.shape
    tall, wide = ((side + 2 * (kernel // 2) - kernel) // stride + 1 for side in sides)
    counts = spikes(steps, batch, tall, wide, cols, device=s.device) * 3
    return counts if form == "int8" else counts.to(torch.float16 if kind == torch.int8 else kind)


def box_examples(device: torch.device) -> Iterator[Example]:
    """Yields int8 calls through tensor descriptors: steps, strides, kernels, counts, resets, edges of every box."""
    neurons: tuple[dict[str, Any], ...] = (
        {},
        {"tau": None, "v_reset": None},
        {"tau": 4.0, "v_reset": -0.5, "decay_input": False},
        {"tau": None, "decay": 45 / 64},
    )
    for index, (steps, kernel, stride, channels, cols, height, width) in enumerate(
        ((4, 3, 1, 48, 32, 9, 5), (3, 3, 2, 32, 48, 7, 10), (1, 5, 1, 16, 16, 6, 6), (5, 7, 2, 16, 16, 9, 9))
    ):
        s = spikes(steps, 2, height, width, channels, device=device) * (1 + index)
        w = weight(cols, kernel, channels, device, torch.int8)
        call = {
            "scale": 2.0 ** (normal(cols, device=device).round() - 6),
            "bias": (normal(cols, device=device) * 64).round() / 256,
            "stride": stride,
            "padding": kernel // 2,
            "form": "int8",
            "path": "boxes",
            **neurons[index],
        }
        if index != 2:
            call["beside"] = _beside(s, kernel, stride, cols, "int8", torch.int8)
        if index == 1:
            call |= {
                "residual": normal(1, 2, 4, 5, cols, device=device).expand(steps, 2, 4, 5, cols),
                "want_current": True,
                "grid": 2.0**-5,
                "low": -1.5,
                "high": 2.0,
            }
        yield Example(f"boxes {kernel}x{kernel} stride {stride} T={steps} {channels} -> {cols}", (s, w), call)
    yield from level_examples(device)


def level_examples(device: torch.device) -> Iterator[Example]:
    """Yields calls without a neuron: numbers of one grid in, those of another out, by pointers and by boxes."""
    for index, (kind, form, most) in enumerate(
        ((torch.float16, "levels16", 200), (torch.int8, "levels8", 100), (torch.float16, "levels8", 200))
    ):
        x = (normal(1, 2, 6, 7, 32, device=device) * most / 4).clamp(-most, most).round().to(kind)
        w = weight(32, 3, 32, device, torch.int8).to(kind)
        call = {
            "scale": 2.0 ** (normal(32, device=device).round() - 15),
            "bias": (normal(32, device=device) * 64).round() / 256,
            "padding": 1,
            "tau": None,
            "form": form,
            "grid": 2.0**-5,
            "low": 0.0,
            "high": 3.0,
            "whole": kind == torch.float16,
        }
        if index < 2:
            call |= {"residual": (normal(1, 2, 6, 7, 32, device=device) * 64).round() / 256, "want_current": True}
            call |= {"least": 0.0} if index else {"low": -3.5}
        for path in ("fused", "boxes"):
            yield Example(f"{kind} to {form}, {path}", (x, w), {**call, "path": path})
        if index == 1:
            call |= {"form": "bytes", "high": 7.0, "corrections": corrections(w, 1, 1, 6, 7)}
            for path in ("fused", "boxes"):
                yield Example(f"bytes to bytes, {path}", (x, w), {**call, "path": path})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields an argument tuple of the operator."""
    s = spikes(2, 1, 5, 5, 16, device=device)
    w = weight(40, 3, 16, device, torch.float16)
    yield (s, w, None, normal(40, device=device), None, 1, 1, 2.0, 1.0, 0.0, True, "packed", True, "fused")
