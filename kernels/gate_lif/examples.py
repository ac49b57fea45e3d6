"""Example calls of `gate_lif`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, spikes
from neurokit.kernels.pack.op import pack


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over token counts, widths, what is added and output forms."""
    for steps, batch, tokens, channels, rate in ((2, 1, 70, 64, 0.3), (3, 2, 20, 45, 0.4), (1, 1, 300, 40, 0.2)):
        mask, a, b = (
            spikes(steps, batch, tokens + i, channels, rate=rate, device=device, dtype=dtype)[:, :, i:]
            for i in range(3)
        )
        label, mean = f"{steps}x{batch}x{tokens}x{channels}", tokens * rate
        for form, gate in (("int8", True), ("packed", False), ("same", False)):
            given: dict[str, Any] = {"form": form, "want_gate": gate, "scale": 0.125}
            yield Example(f"{label} products {form}", (mask, a, b), {**given, "threshold": mean * rate / 16})
            given |= {"threshold": mean / 16, "tau": None, "v_reset": None}
            yield Example(f"{label} one operand {form}", (mask, a), given)
        if dtype == torch.float16:
            words = tuple(pack(x) for x in (mask, a, b))
            given = {"channels": channels, "threshold": mean * rate / 2, "want_gate": True}
            yield Example(f"{label} packed input", words, given)
    for dim, heads in ((32, 2), (45, 1), (8, 3)):
        mask, a, b = (
            spikes(3, 2, 21 + i, dim * heads, rate=0.3, device=device, dtype=dtype)[:, :, i:] for i in range(3)
        )
        given = {"over": "channels", "heads": heads, "form": "int8", "want_gate": True}
        yield Example(f"{heads}x{dim} channels", (mask, a), {**given, "threshold": 0.15 * dim})
        leak = {"tau": None, "decay": 45 / 64, "want_gate": False, "form": "same"}
        yield Example(f"{heads}x{dim} products", (mask, a, b), {**given, **leak, "threshold": 0.06 * dim})
    one = spikes(2, 1, 20, 96, rate=0.3, device=device, dtype=dtype)
    for over in ("tokens", "channels"):
        parts = {"over": over, "channels": 32, "columns": (64, 0, 32), "heads": 2, "threshold": 1.0, "form": "int8"}
        yield Example(f"one tensor of all three, {over}", (one, one, one), parts)
        yield Example(f"one tensor of two, {over}", (one, one), {**parts, "columns": (32, 64, 0), "want_gate": True})
    wide = spikes(2, 1, 20, 96, rate=0.3, device=device, dtype=dtype).chunk(3, -1)
    yield Example("slices of one tensor", wide, {"form": "int8", "want_gate": True})
    yield Example("what is added is let through", (mask, mask, mask), {"threshold": 4.0, "v_reset": 0.25})
    yield Example("empty", (mask[:, :0], a[:, :0]), {"want_gate": True})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    mask, a, b = (spikes(2, 1, 9, 64, rate=0.1 * i, device=device, dtype=torch.float32) for i in (3, 2, 4))
    tail = (0.125, 2.0, 0.05, 0.0, True)
    yield (mask.requires_grad_(), a, b, 64, 2, "tokens", *tail, "same", True, "sigmoid", 4.0, False)
    yield (mask.detach(), a, None, 64, 1, "tokens", *tail, "packed", False, "atan", 2.0, True)
    yield (mask.detach(), a, None, 64, 2, "channels", *tail, "int8", True, "atan", 2.0, True)
