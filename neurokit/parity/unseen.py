"""What the checks of an artifact did not exercise: listed in the report, it lowers the wording of the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurokit.parity.covering import UNBOUNDED, WHERE

if TYPE_CHECKING:
    from neurokit.parity.covering import Cover, Covering
    from neurokit.parity.vectors import LayerVector, Vectors

_LOOSE = 0.05  # share of the way to the threshold, or of the largest output: a bound above it shows little


@dataclass(frozen=True)
class Unread:
    """A weight of which the reference's runs did not read all: what met nothing but zeros moved no answer.

    Attributes:
        weight: Its name.
        size: Number of its elements.
        in_vectors: How many of them met nothing but zeros on the test vectors' input.
        in_all: How many of them did so in the covering runs as well.
        inputs: The first input features that were 0 in all runs.
        dead: Input features that all its elements are 0 for: what they hold has no part in what follows.
        features: Number of input features.
    """

    weight: str
    size: int
    in_vectors: int
    in_all: int
    inputs: tuple[int, ...] = ()
    dead: int = 0
    features: int = 0

    @classmethod
    def read(cls, entry: dict[str, object]) -> Unread:
        """Returns what a file of test vectors says of a weight."""
        inputs: Iterable[int] = entry["inputs"]  # type: ignore[assignment]
        return cls(**{**entry, "inputs": tuple(inputs)})  # type: ignore[arg-type]


def unseen(vectors: Vectors, forced: bool, samples: int = 0) -> tuple[str, ...]:
    """Returns what no test vector and no coverage stimulus exercised, one line each.

    Args:
        vectors: The test vectors, of the layers that the artifact shows.
        forced: Whether its layers could be given spikes, so that the covering runs were made.
        samples: How many samples of blind runs were compared.
    """
    lines = [] if forced or not vectors.layers else ["weights that no spike of the test vectors reads: no covering run"]
    if vectors.hidden:
        over = f", over {samples} samples more" if samples else ""
        lines.append(f"{vectors.hidden} layer(s) that this form hides: compared by what follows them only{over}")
    covered = vectors.coverings if forced or not vectors.layers else ()
    for index, layer in enumerate(vectors.layers):
        lines += _of_layer(layer, [run.layers[index] for run in covered if index < len(run.layers)])
    lines += [line for entry in vectors.unread for line in _of_weight(entry, forced or not vectors.layers)]
    lines += _of_inputs(vectors, {run.kind for run in covered})
    beyond = [line for run in covered for line in (*_unbounded(vectors, run), *_amplified(run))]
    return (*lines, *_loose_bounds(vectors), *beyond)


def _unbounded(vectors: Vectors, run: Covering) -> list[str]:
    """Returns the layers with currents of a covering run that may be anything within rounding (e to a large sum)."""
    counts = [
        (layer.path, int((cover.bound >= UNBOUNDED).sum()), cover.at.size)
        for layer, cover in zip(vectors.layers, run.layers, strict=False)
    ]
    return [
        f"{path}: {count:,} of {size:,} currents {WHERE[run.kind]} have no bound"
        for path, count, size in counts
        if count
    ]


def _amplified(run: Covering) -> list[str]:
    """Returns the outputs of a covering run that float32 itself misses by so much that it shows little."""
    return [
        f"output {name!r} {WHERE[run.kind]}: rounding alone moves it by {output.rounding:.1%}"
        for name, output in run.outputs.items()
        if output.allowed > _LOOSE
    ]


def _of_weight(entry: Unread, covered: bool) -> list[str]:
    lines = []
    if count := entry.in_all if covered else entry.in_vectors:
        named = ", ".join(map(str, entry.inputs))
        inputs = f" (input {named})" if covered and entry.inputs else ""
        lines.append(f"{entry.weight}: {count:,} of {entry.size:,} weights met nothing but zeros{inputs}")
    if entry.dead:
        lines.append(f"{entry.weight}: all weights of {entry.dead} of {entry.features} inputs are 0")
    return lines


def _of_layer(layer: LayerVector, covers: list[Cover]) -> list[str]:
    lines = []
    silent = _channels(layer.spikes.shape) - len(_active(layer.spikes))
    if silent:
        lines.append(f"{layer.path}: {silent} of {_channels(layer.spikes.shape)} channels fire in no test vector")
    if layer.steps is not None and not layer.steps.at_threshold:
        lines.append(f"{layer.path}: no membrane stands exactly at its threshold: `>` in place of `>=` is not seen")
    dead = _channels(layer.spikes.shape)
    reached = np.zeros(dead, bool)
    for cover in covers:
        alive = cover.at[(cover.current != 0) | (cover.bound > 0)]
        reached[np.unravel_index(alive, cover.shape)[2] if len(cover.shape) > 2 else alive[:1] * 0] = True
    if covers and not reached.all():
        lines.append(f"{layer.path}: nothing reaches {int((~reached).sum())} of {dead} channels (their weights are 0)")
    return lines


def _loose_bounds(vectors: Vectors) -> list[str]:
    """Returns the layers and outputs whose rounding bound is so wide that hardly any fault would be beyond it.

    That is what wide sums in float16 and bfloat16 come to, and what a damaged bound looks like.
    """
    lines = []
    for layer in vectors.layers:
        threshold, reset = layer.parameters.get("v_threshold"), layer.parameters.get("v_reset")
        if layer.steps is None and isinstance(threshold, int | float):
            way = abs(threshold - (reset if isinstance(reset, int | float) else 0.0))
            if layer.bound > _LOOSE * way:
                lines.append(
                    f"{layer.path}: rounding may move its membrane by {layer.bound:.2g} of {way:.3g} to threshold"
                )
    for name, value in vectors.outputs.items():
        bound = vectors.output_bounds.get(name, 0.0)
        size = float(np.abs(value[np.isfinite(value)]).max(initial=0.0)) if value.dtype.kind == "f" else 0.0
        if size and bound > _LOOSE * size:
            lines.append(f"output {name!r}: rounding may move it by {bound:.2g}, its largest element is {size:.3g}")
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
    real = any(value.dtype.kind == "f" for value in vectors.feeds.values())
    lines = ["inputs beyond the declared range: the network takes none"] if real and kinds == {"range"} else []
    for name, value in vectors.feeds.items():
        if value.dtype.kind != "f" or "range" in kinds or not value.size:
            continue
        low, high = vectors.ranges.get(name, (0.0, 1.0))
        seen = float(value.min()), float(value.max())
        if seen[0] > low or seen[1] < high:
            lines.append(f"input {name!r}: tested from {seen[0]:.3g} to {seen[1]:.3g} of {low:g} to {high:g}")
    return lines
