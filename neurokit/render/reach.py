"""How far a proof of exactness reaches, as a line of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

_SHOWN = 3


def reach(target_info: Mapping[str, Any]) -> list[RenderableType]:
    """Returns what the proof in a manifest's target_info promises, or nothing where there is no proof."""
    proof = target_info.get("proof")
    if not isinstance(proof, Mapping):
        return []
    steps, asked = proof.get("steps_any_precision"), proof.get("time_steps")
    count = "any number of steps" if steps is None else f"{steps} time steps"
    layers = [layer["name"] for layer in proof.get("layers", ()) if layer.get("status") != "exact"]
    if proof.get("status") == "exact":
        said = f"every sum exact, in any order and in any precision from float32 up, for {count}"
    else:
        more = f" and {len(layers) - _SHOWN} more" if len(layers) > _SHOWN else ""
        said = (
            "elementwise: the same bits wherever float32 operations are rounded as IEEE 754 says and not contracted "
            f"(weakest: {', '.join(layers[:_SHOWN])}{more})"
        )
        if steps is not None and asked is not None:
            said += (
                f"; in other precisions, such as float64, the same spikes are proven for {steps} of {asked} time steps"
            )
    return [escape(f"proof: {said}")]
