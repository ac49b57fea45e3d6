"""Example calls of `lif`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, normal

NEURONS: dict[str, dict[str, Any]] = {
    "lif": {},
    "lif tau 3": {"tau": 3.0},
    "lif soft": {"tau": 4.0, "v_reset": None},
    "lif no decay": {"decay_input": False, "v_reset": 0.25},
    "if": {"tau": None, "threshold": 0.75},
    "if soft": {"tau": None, "v_reset": None},
}
SHAPES = [(1, 5, 32), (2, 3, 7), (3, 4, 64), (4, 2, 3, 48), (8, 3, 33), (16, 2, 96)]


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over shapes, neurons and output forms."""
    for index, shape in enumerate(SHAPES):
        x = normal(*shape, device=device, dtype=dtype, mean=0.4)
        for number, (name, neuron) in enumerate(NEURONS.items()):
            form = ("same", "int8", "packed")[(index + number) % 3]
            yield Example(f"{name} {shape} {form}", (x,), {**neuron, "spikes": form})
    x = normal(4, 6, 40, device=device, dtype=dtype, mean=0.4)
    row = {"scale": normal(40, device=device) + 1.0, "bias": normal(40, device=device)}
    extra = {"residual": normal(4, 6, 40, device=device, dtype=dtype), "v0": normal(6, 40, device=device)}
    for form in ("same", "packed"):
        yield Example(f"affine residual state {form}", (x,), {**row, **extra, "spikes": form})
    yield Example("plif", (x,), {"decay": torch.tensor(0.3, device=device)})
    yield Example("plif no decay", (x,), {"decay": torch.tensor(0.3, device=device), "decay_input": False})
    yield Example("transposed", (x.transpose(1, 2),), {})
    yield Example("strided", (normal(4, 6, 80, device=device, dtype=dtype)[..., ::2],), {"spikes": "packed"})
    yield Example("image repeated", (x[:1].expand(5, 6, 40),), {"residual": x[:1].expand(5, 6, 40)})
    whole, turned = (5, 2, 40, 3), normal(5, 2, 3, 40, device=device, dtype=dtype, mean=0.4).movedim(-1, 2)
    other = normal(1, 2, 40, 3, device=device, dtype=dtype).expand(whole)
    yield Example("image repeated, channels last", (turned[:1].expand(whole),), {"residual": other})
    yield Example("channels last beside an image repeated", (turned,), {"residual": other, "want_v": True})
    yield Example("counts", ((x * 9).round().to(torch.int32),), {"scale": row["scale"]})
    # On a grid of 1/8 many membranes meet the threshold exactly, and must fire.
    yield Example("ties", ((normal(8, 6, 40, device=device) * 8).round().div(8).to(dtype),), {"threshold": 0.5})
    if dtype != torch.bfloat16 or device.type == "cuda":  # the interpreter truncates where a GPU rounds
        yield Example("current", (x,), {**row, **extra, "want_current": True})
    yield Example("empty", (x[:, :0],), {"spikes": "packed"})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of `lif_forward`."""
    x = normal(4, 3, 40, device=device).requires_grad_()
    tail = (1.0, 0.0, True)
    yield (x, None, None, None, None, None, 2.0, *tail, "same", True, True, "sigmoid", 4.0, False)
    row = normal(40, device=device).requires_grad_()
    yield (x, None, row, row, x, None, None, *tail, "same", True, False, "atan", 2.0, True)
    yield (
        x.detach(),
        None,
        None,
        None,
        None,
        None,
        3.0,
        1.0,
        None,
        True,
        "packed",
        False,
        False,
        "triangle",
        1.0,
        True,
    )
