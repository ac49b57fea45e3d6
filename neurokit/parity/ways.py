"""One artifact on every optimisation level, thread count and batch size: does the answer depend on how it is run?"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError
from neurokit.over_time import batch_axes
from neurokit.parity.free_run import own_spikes
from neurokit.reports import WayParity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from neurokit.artifact import Artifact
    from neurokit.parity.vectors import Vectors

LEVELS = (0, 1, 2, 3)
THREADS = (1, 2)
BATCHES = (1, 5)
Feeds = dict[str, np.ndarray]
Run = tuple[list[np.ndarray], list[np.ndarray]]


def run_every_way(artifact: Artifact, vectors: Vectors, probe: Callable[..., Any]) -> tuple[WayParity, ...]:
    """Runs an artifact freely in every way and compares it with its reference.

    A way that flips spikes is judged as the free run is: every spike must follow from the artifact's own current and
    state, so that it parts from the reference at a near miss only.

    The first sample's reference are the artifact's test vectors. The other samples are that one shifted along its last
    axis; their reference is the artifact alone with each of them, unoptimised, on one thread.

    Args:
        artifact: The artifact.
        vectors: Its test vectors.
        probe: Opens the artifact for `level` and `threads`.

    Raises:
        InputError: If the artifact's runtime has no optimisation levels.
    """
    first_probe = probe()
    if not first_probe.has_levels:
        raise InputError(
            f"target {artifact.manifest.target!r} cannot be verified thoroughly",
            expected="an artifact that ONNX Runtime verifies",
            fix="leave --thorough away",
        )
    vectors = first_probe.restrict(vectors)
    axis = 0 if vectors.time_input == "image" else 1
    fixed = artifact.manifest.options.get("batch")
    shapes = [port.shape for port in artifact.manifest.outputs]
    size = fixed if isinstance(fixed, int) else 0
    out_axes = batch_axes(vectors.time_output, len(vectors.outputs), shapes, size)
    batches = (fixed,) if isinstance(fixed, int) else BATCHES
    samples = [_shifted(vectors.feeds, shift, axis) for shift in range(max(batches))]
    alone = probe(level=0, threads=1)
    references = [_kept(vectors, out_axes)]
    references += [_alone(alone, sample, fixed, axis, out_axes) for sample in samples[1:]]
    ways = []
    for level, threads in itertools.product(LEVELS, THREADS):
        opened = probe(level=level, threads=threads)
        for batch in batches:
            feeds = _together(samples[:batch], axis)
            found = opened.free(feeds)
            way = _compare(level, threads, batch, found, references, out_axes)
            if way.flips and opened.can_force():
                way = replace(way, judged=True, fault=_unexplained(opened, vectors, feeds, found))
            ways.append(way)
    return tuple(ways)


def _unexplained(probe: Any, vectors: Vectors, feeds: Feeds, found: Run) -> str:
    """Returns what of a run with flips does not follow from its own currents and spikes, in one line, or ""."""
    bounds = {name: vectors.output_bounds.get(name, 0.0) for name in vectors.outputs}
    faults = own_spikes(probe, vectors.layers, bounds, feeds, *found)[1]
    return faults[0] if faults else ""


def _kept(vectors: Vectors, out_axes: Sequence[int]) -> Run:
    outputs = [value.take([0], axis) for value, axis in zip(vectors.outputs.values(), out_axes, strict=True)]
    return outputs, [layer.spikes.take([0], 1) for layer in vectors.layers]


def _shifted(feeds: Mapping[str, np.ndarray], shift: int, axis: int) -> Feeds:
    """Returns the first sample of some feeds, each shifted along its last axis."""
    kept = {name: value.take([0], axis) for name, value in feeds.items()}
    # A mask says which of the others count: shifted, it may leave none.
    return {name: value if value.dtype == bool else np.roll(value, shift, -1) for name, value in kept.items()}


def _together(samples: Sequence[Feeds], axis: int) -> Feeds:
    """Returns samples as one batch."""
    return {n: np.ascontiguousarray(np.concatenate([feeds[n] for feeds in samples], axis)) for n in samples[0]}


def _alone(probe: Any, sample: Feeds, fixed: Any, axis: int, out_axes: Sequence[int]) -> Run:
    """Runs one sample; where the batch is fixed, among copies of itself."""
    outputs, spikes = probe.free(_together([sample] * (fixed if isinstance(fixed, int) else 1), axis))
    first = [value.take([0], axis) for value, axis in zip(outputs, out_axes, strict=True)]
    return first, [value.take([0], 1) for value in spikes]


def _compare(
    level: int, threads: int, batch: int, found: Run, references: list[Run], out_axes: Sequence[int]
) -> WayParity:
    flips = decisions = 0
    equal, error = True, 0.0
    for index in range(batch):
        outputs, spikes = references[index]
        for value, wanted in zip(found[1], spikes, strict=True):
            decisions += wanted.size
            flips += int((value.take([index], 1).reshape(wanted.shape) != wanted).sum())
        for value, wanted, axis in zip(found[0], outputs, out_axes, strict=True):
            mine = value.take([index], axis)
            equal = equal and np.array_equal(mine, wanted)
            norm = float(np.linalg.norm(wanted.astype(np.float64))) or 1.0
            error = max(error, float(np.linalg.norm(mine.astype(np.float64) - wanted)) / norm)
    return WayParity(level, threads, batch, decisions, flips, equal, error)


def fault_of(ways: tuple[WayParity, ...], exact: bool, tolerance: float | None) -> str:
    """Returns what is wrong in one line, or "".

    Args:
        ways: What was found.
        exact: Whether every bit must be equal.
        tolerance: Relative error of the outputs that is allowed where there are no spikes, else None.
    """
    if exact:
        off = [way for way in ways if way.flips or not way.outputs_equal]
    else:
        off = [way for way in ways if tolerance is not None and not way.output_error <= tolerance]
        off = off or [way for way in ways if way.fault]
    if not off:
        return ""
    way = off[0]
    return (
        f"{len(off)} of {len(ways)} ways to run it differ; the first: level {way.level}, {way.threads} thread(s), "
        f"batch {way.batch}: {way.flips:,} flips, output error {way.output_error:.2g}"
        + (f"; {way.fault}" if way.fault else "")
    )
