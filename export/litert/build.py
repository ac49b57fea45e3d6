"""Writes the LiteRT files of one artifact: every graph, the probing twin, and the neurons alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from neurokit.export.aoti.build import calls_of, traced
from neurokit.export.aoti.compile import exported
from neurokit.export.aoti.probe import NEURONS, TWIN
from neurokit.export.aoti.programs import body_of, layer_nodes, neurons_of, twin_of
from neurokit.export.describe import describe, save_initial_states
from neurokit.export.litert.environment import convert
from neurokit.program.passes.fold_norms import FOLD_NORMS
from neurokit.scratch import scratch

if TYPE_CHECKING:
    from neurokit.capture import Captured

_ROWS = 1024  # neurons that are run alone in one call


def build(captured: Captured, folder: Path, exact: bool) -> dict[str, Any]:
    """Converts a captured model; returns entries of the manifest.

    Args:
        captured: The model, in the form that is wanted, with a fixed batch size.
        folder: Where to put the files.
        exact: Whether the model is in exact numerics, whose sums are left as they are.

    Raises:
        UnsupportedError: If litert-torch refuses the program.
    """
    entries = describe(captured)
    calls: list[dict[str, Any]] = []
    with scratch("litert") as programs:
        files: dict[Path, Path] = {}

        def keep(program: Any, name: str) -> None:
            source = programs / f"{name}.pt2"
            torch.export.save(program, source)
            files[source] = folder / f"{name}.tflite"

        for graph, part in zip(entries["graphs"], captured.graphs, strict=True):
            graph["file"] = f"{part.graph}.tflite"
            body = body_of(part)
            if not exact:
                FOLD_NORMS(body)
            keep(traced(body, part, "cpu"), part.graph)
            save_initial_states(part, folder)
            if captured.parts or not list(layer_nodes(body)):
                continue  # of several graphs the outputs of calls in a row are compared, and no layers
            alone, kinds = neurons_of(body)
            examples = [torch.zeros(_ROWS, dtype=one.dtype) for kind in alone.kinds for one in kind.example]
            keep(traced(twin_of(body), part, "cpu"), TWIN)
            keep(exported(alone, examples, [{}] * len(examples), "cpu"), NEURONS)
            calls, info = calls_of(body, part, alone, kinds)
            entries["target_info"] |= {**info, "rows": _ROWS}
        version = convert(files, captured.spec.name)
    entries["form"] = captured.form
    entries["target_info"] |= {"calls": calls, "converter": f"litert-torch {version}"}
    entries["target_info"].setdefault("kinds", [])
    entries["target_info"].setdefault("examples", [])
    return entries
