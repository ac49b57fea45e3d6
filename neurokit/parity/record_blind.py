"""Runs the reference freely on many samples, for a form that hides layers (neurokit/parity/blind.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.parity.blind import Blind, feeds_of
from neurokit.parity.covering import Output
from neurokit.parity.record_covering import analysed, bound_of, calls_of_layers
from neurokit.parity.record_vectors import make_layer
from neurokit.parity.stimuli import DECISIONS, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neurokit.capture import Captured
    from neurokit.parity.vectors import LayerVector, Vectors

_SAMPLES = 64  # of a network whose decisions are few enough
_BEYOND = 8


def with_blind(captured: Captured, vectors: Vectors, entries: Mapping[str, Any]) -> Vectors:
    """Adds blind runs where a form takes neurons apart that are layers of the vectors.

    Of neurons that are no layers there nobody knows when rounding decides.

    Args:
        captured: The capture, in the sequence form.
        vectors: Its test vectors.
        entries: What the target says of the artifact.
    """
    paths = {layer.path.partition("@")[0] for layer in vectors.layers}
    hidden = {neuron["path"].partition("@")[0] for neuron in entries.get("neurons", ()) if neuron["op"] == "decomposed"}
    whole = all(layer.near is not None for layer in vectors.layers)
    if not hidden or not hidden <= paths or not whole or vectors.calls:
        return vectors
    axis = 0 if vectors.time_input == "image" else 1
    batch = next(iter(vectors.feeds.values())).shape[axis]
    decisions = sum(layer.spikes.size for layer in vectors.layers) // max(1, batch)
    most = max(4, min(_SAMPLES, DECISIONS // max(1, decisions)))
    free = captured.batch == "dynamic"
    sizes = [("range", most), ("beyond", min(_BEYOND, most))] if free else [("range", batch)] * -(-most // batch)
    made = []
    for seed, (kind, count) in enumerate(sizes):
        try:
            made.append(_record(captured, vectors, kind, 100 + seed, count))  # type: ignore[arg-type]
        except (IndexError, RuntimeError, ValueError):
            if kind == "range":
                raise  # beyond its range a network need not run
    return replace(vectors, blind=tuple(made))


def _record(captured: Captured, vectors: Vectors, kind: Kind, seed: int, batch: int) -> Blind:
    import torch

    from neurokit.capture import opened
    from neurokit.capture.reference import fed_back, record_all
    from neurokit.capture.stepping import layer_names
    from neurokit.program.readable import readable

    captured = opened(captured)
    module = readable(captured.program)
    given = tuple(torch.from_numpy(value) for value in feeds_of(vectors, kind, seed, batch).values())
    states = fed_back(captured, module, given)
    outputs, records = record_all(module, (*given, *states), wanted=len(captured.output_names))
    currents, magnitudes = analysed(captured, module, [entry.spikes for entry in records], given, states)
    by_path = {neuron.path: neuron for neuron in captured.neurons}
    calls = calls_of_layers(layer_names(captured.program, captured.calls))
    steps = captured.known_steps or max(len(entry.spikes) for entry in records)
    until = np.full(batch, steps)
    for path, places in calls.items():
        layer = make_layer(path, by_path, [records[at] for at in places], [currents[at] for at in places], seed)
        until = np.minimum(until, _first_near(layer, steps))
    kept = {
        name: Output(y.detach().numpy(), bound_of(y, magnitude))
        for name, y, magnitude in zip(captured.output_names, outputs, magnitudes, strict=False)
    }
    return Blind(kind, seed, steps, until, kept)


def _first_near(layer: LayerVector, steps: int) -> np.ndarray:
    """Returns the first step at which rounding may decide in a layer, `[B]`; T where it may at none."""
    total, batch = layer.spikes.shape[:2]
    found = np.full(batch, steps)
    if layer.near is None:
        return np.zeros_like(found)
    step, sample = np.unravel_index(layer.near, layer.spikes.shape)[:2]
    # Calls of a layer that is not called over all steps at once follow one another: their step is not known.
    np.minimum.at(found, sample, step if total == steps else np.zeros_like(step))
    return found
