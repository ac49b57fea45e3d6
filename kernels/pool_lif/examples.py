"""Example calls of `pool_lif`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Example, normal

WINDOWS: dict[str, dict[str, Any]] = {
    "3x3 stride 2": {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1)},
    "2x2": {"kernel": (2, 2)},
    "2x3": {"kernel": (2, 3), "stride": (2, 1), "padding": (0, 1)},
    "overlapping": {"kernel": (3, 3), "stride": (1, 1)},
}
NEURONS: dict[str, dict[str, Any]] = {
    "lif": {},
    "lif tau 3 soft": {"tau": 3.0, "v_reset": None},
    "no decay": {"decay_input": False, "v_reset": 0.25},
    "if": {"tau": None, "threshold": 0.75},
    "learnt leak": {"tau": None, "decay": 45 / 64},
}


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields calls over windows, neurons, both ways of pooling and output forms."""
    rounds = dtype != torch.bfloat16 or device.type == "cuda"  # the interpreter truncates where a GPU rounds
    for index, (shape, (name, windows)) in enumerate(
        zip(((4, 2, 9, 7, 16), (3, 2, 6, 6, 5), (8, 1, 5, 8, 33), (1, 1, 6, 6, 32)), WINDOWS.items(), strict=True)
    ):
        x = normal(*shape, device=device, dtype=dtype, mean=-0.2)
        for number, (neuron, settings) in enumerate(NEURONS.items()):
            form = ("same", "int8")[(index + number) % 2]
            given: dict[str, Any] = {**windows, **settings, "form": form, "want_current": number == 1}
            yield Example(f"max {name} {neuron} {form}", (x,), given)
        if rounds:
            given = {**windows, "how": "mean", "threshold": 0.2, "want_current": True, "form": "int8"}
            yield Example(f"mean {name}", (x * 3,), given)
            grid = {"grid": 0.25, "low": -1.0, "high": 1.5}
            yield Example(f"mean rounded {name}", (x * 3,), {**given, **grid})
            yield Example(f"max rounded {name}", (x,), {**windows, **grid, "want_current": True})
    turned = normal(2, 3, 8, 6, 6, device=device, dtype=dtype).permute(0, 1, 3, 4, 2)
    yield Example("channels in front", (turned,), WINDOWS["3x3 stride 2"])
    yield Example("empty", (turned[:, :0],), WINDOWS["2x2"])


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    x = normal(4, 2, 6, 6, 8, device=device)
    neuron = (2.0, 1.0, 0.0, True)
    yield (x, [3, 3, 2, 2, 1, 1], "max", None, None, None, *neuron, "int8", True)
    yield (x, [2, 2, 2, 2, 0, 0], "mean", 0.25, -1.0, 1.0, *neuron, "same", False)
