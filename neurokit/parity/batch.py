"""Samples in a batch: each one's answer must be its own, whatever stands beside it and wherever it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.parity.forcing import in_bounds
from neurokit.parity.free_run import own_spikes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neurokit.parity.vectors import Vectors
    from neurokit.target import Probe

# Orders in which samples are run together. Sample 0 is the first of the test vectors; a fault that depends on the
# size shows in one of them, one that depends on the place in the turned orders.
ORDERS: tuple[tuple[int, ...], ...] = ((1, 0), (3, 0, 4, 1, 2))
# A run of more spike decisions a sample than this is repeated in a batch of two only.
MANY = 2_000_000
Run = tuple[list[np.ndarray], list[np.ndarray]]


def judge_batches(probe: Probe, vectors: Vectors, fixed: int | None, relative: float, exact: bool) -> list[str]:
    """Runs different samples alone and together.

    Args:
        probe: The artifact.
        vectors: Its test vectors.
        fixed: The artifact's batch size, or None where it is free.
        relative: Largest error of an output, relative to its largest element, that another order of summation makes
            in a model without layers.
        exact: Whether every bit must be equal.

    Returns:
        Faults, one line each.
    """
    if probe.fixed_input or fixed == 1:
        return []
    axis = 0 if vectors.time_input == "image" else 1
    orders = _orders(fixed, sum(layer.spikes.size for layer in vectors.layers))
    samples = make_samples(vectors.x.take([0], axis), 1 + max(max(order) for order in orders))
    alone: dict[int, Run] = {}
    faults: list[str] = []
    for order in orders:
        for k in order:
            if k not in alone:  # where the batch is fixed, alone among copies of itself
                run = probe.free(np.ascontiguousarray(np.repeat(samples[k], fixed or 1, axis)))
                alone[k] = _part(run, vectors, 0, fixed or 1)
        x = np.ascontiguousarray(np.concatenate([samples[k] for k in order], axis))
        try:
            fault = _compare(probe, vectors, x, probe.free(x), [alone[k] for k in order], fixed, relative, exact)
        except ArtifactError as error:
            fault = f"it does not run: {error.what}"
        if fault:
            faults.append(f"in a batch of {len(order)}, {fault}")
    return faults


def _orders(fixed: int | None, decisions: int) -> tuple[tuple[int, ...], ...]:
    if fixed is not None:
        forward = tuple(range(fixed))
        return (forward[1:] + forward[:1],)
    return ORDERS if decisions <= MANY else ORDERS[:1]


def make_samples(first: np.ndarray, count: int) -> list[np.ndarray]:
    """Returns different samples: the first one, and that one turned along its last axis and, if real, scaled down."""
    samples = [first]
    for k in range(1, count):
        turned = np.roll(first, k * max(1, first.shape[-1] // 5), -1)
        samples.append(turned * first.dtype.type(1.0 - k / 16.0) if first.dtype.kind == "f" else turned)
    return samples


def _compare(
    probe: Probe,
    vectors: Vectors,
    x: np.ndarray,
    together: Run,
    alone: Sequence[Run],
    fixed: int | None,
    relative: float,
    exact: bool,
) -> str:
    """Returns how the samples' answers differ from those that each gives alone, or ""."""
    outputs, spikes = together
    parts = [_part(together, vectors, k, len(alone)) for k in range(len(alone))]
    pairs = [
        (mine, own) for part, run in zip(parts, alone, strict=True) for mine, own in zip(part[1], run[1], strict=True)
    ]
    if not all(np.array_equal(mine, own) for mine, own in pairs):
        if exact or not probe.can_force():
            return "a sample's spikes depend on the others"
        bounds = {name: vectors.output_bounds.get(name, 0.0) for name in vectors.outputs}
        fault = next(iter(own_spikes(probe, vectors.layers, bounds, x, outputs, spikes)[1]), "")
        return fault or _forced_alike(probe, vectors, x, alone, fixed)
    for k, (part, run) in enumerate(zip(parts, alone, strict=True)):
        for name, mine, own in zip(vectors.outputs, part[0], run[0], strict=True):
            slack = relative * float(np.abs(own[np.isfinite(own)]).max(initial=0.0))
            bound = vectors.output_bounds.get(name, 0.0) if vectors.layers else slack
            if not in_bounds(mine, own, 0.0 if exact else bound):
                return f"the answer {name!r} to sample {k} is not the one it has alone"
    return ""


def _forced_alike(probe: Probe, vectors: Vectors, x: np.ndarray, alone: Sequence[Run], fixed: int | None) -> str:
    """Compares samples together with samples alone once more where spikes parted: fed the same spikes, the ones alone.

    What parts by rounding at a near miss has the same currents then; what mixes samples has not.
    """
    axis = 0 if vectors.time_input == "image" else 1
    given = [np.concatenate(parts, axis=1) for parts in zip(*(run[1] for run in alone), strict=True)]
    together = probe.currents(x, given)
    for k, run in enumerate(alone):
        many = fixed or 1
        copies = np.ascontiguousarray(np.repeat(_sample(x, axis, k, len(alone)), many, axis))
        single = _part(probe.currents(copies, [np.repeat(s, many, axis=1) for s in run[1]]), vectors, 0, many)
        mine = _part(together, vectors, k, len(alone))
        for layer, a, b in zip(vectors.layers, mine[1], single[1], strict=True):
            if not in_bounds(a.reshape(b.shape), b, layer.bound):
                return f"{layer.path}: a sample's current depends on the others"
        for name, y, own in zip(vectors.outputs, mine[0], single[0], strict=True):
            if not in_bounds(y, own, vectors.output_bounds.get(name, 0.0)):
                return f"the answer {name!r} to sample {k} depends on the others"
    return ""


def _part(run: Run, vectors: Vectors, index: int, count: int) -> Run:
    """Returns the part of a run of `count` samples that belongs to one of them."""
    axis = 1 if vectors.time_output == "sequence" else 0
    return [_sample(y, axis, index, count) for y in run[0]], [_sample(s, 1, index, count) for s in run[1]]


def _sample(value: np.ndarray, axis: int, index: int, count: int) -> np.ndarray:
    if value.ndim <= axis or value.shape[axis] % count:
        return value  # no batch axis: it cannot be one sample's own, and differs from what each has alone
    size = value.shape[axis] // count
    return value.take(range(index * size, (index + 1) * size), axis)
