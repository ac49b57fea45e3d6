"""What the checks of an artifact did not exercise: listed in the report, it lowers the wording of the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from neurokit.parity.covering import Cover
    from neurokit.parity.vectors import LayerVector, Vectors


def unseen(vectors: Vectors, forced: bool) -> tuple[str, ...]:
    """Returns what no test vector and no coverage stimulus exercised, one line each.

    Args:
        vectors: The test vectors, of the layers that the artifact shows.
        forced: Whether its layers could be given spikes, so that the covering runs were made.
    """
    lines = [] if forced or not vectors.layers else ["weights that no spike of the test vectors reads: no covering run"]
    if vectors.hidden:
        lines.append(f"{vectors.hidden} layer(s) that this form hides: compared by what follows them only")
    covered = vectors.coverings if forced or not vectors.layers else ()
    for index, layer in enumerate(vectors.layers):
        lines += _of_layer(layer, [run.layers[index] for run in covered if index < len(run.layers)])
    return (*lines, *_of_inputs(vectors, {run.kind for run in covered}))


def _of_layer(layer: LayerVector, covers: list[Cover]) -> list[str]:
    lines = []
    silent = _channels(layer.spikes.shape) - len(_active(layer.spikes))
    if silent:
        lines.append(f"{layer.path}: {silent} of {_channels(layer.spikes.shape)} channels fire in no test vector")
    dead = _channels(layer.spikes.shape)
    reached: set[int] = set()
    for cover in covers:
        alive = cover.at[(cover.current != 0) | (cover.bound > 0)]
        if len(cover.shape) > 2:
            reached |= set(np.unravel_index(alive, cover.shape)[2].tolist())
        elif alive.size:
            reached.add(0)
    if covers and dead > len(reached):
        lines.append(f"{layer.path}: nothing reaches {dead - len(reached)} of {dead} channels (their weights are 0)")
    return lines


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) > 2 else 1


def _active(spikes: np.ndarray) -> np.ndarray:
    """Returns the channels of `[T, B, C, ...]` in which any neuron fires."""
    if spikes.ndim < 3:
        return np.flatnonzero([spikes.any()])
    return np.flatnonzero(np.moveaxis(spikes, 2, 0).reshape(spikes.shape[2], -1).any(axis=1))


def _of_inputs(vectors: Vectors, kinds: set[str]) -> list[str]:
    """Returns the inputs whose declared range was not drawn from, with the range that was."""
    lines = []
    for name, value in vectors.feeds.items():
        if value.dtype.kind != "f" or "range" in kinds or not value.size:
            continue
        low, high = vectors.ranges.get(name, (0.0, 1.0))
        seen = float(value.min()), float(value.max())
        if seen[0] > low or seen[1] < high:
            lines.append(f"input {name!r}: tested from {seen[0]:.3g} to {seen[1]:.3g} of {low:g} to {high:g}")
    return lines
