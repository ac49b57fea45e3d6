"""Coverage stimuli: inputs over the declared range and beyond it, random spikes in complements, and what is kept.

Everything is drawn again from a seed where it is needed, with integer arithmetic, so that a file holds only what the
reference made of it, and every machine and every NumPy draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

Kind = Literal["range", "beyond", "vectors"]
KEPT = 2048  # pairs of currents kept a layer, beside one for every index of every axis
DRAWS = 16  # independent draws of every neuron that are wanted, over steps and samples
DECISIONS = 2_000_000  # of all layers and samples in one covering run
OPERATIONS = 12_000_000_000  # of all samples in one covering run of a model without neurons
_BEYOND = 3.0  # half width of what is drawn beyond the range, in widths of the range
_FAR = ((11, 32.0), (97, 2000.0))  # every so manieth element, that many times as far out


def draw(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns numbers in [0, 1), multiples of 2^-24, float64."""
    raw = np.random.PCG64(seed).random_raw(max(1, math.prod(shape)))
    return (np.asarray(raw, np.uint64) >> np.uint64(40)).astype(np.float64)[: math.prod(shape)].reshape(shape) / 2.0**24


def stimulus(
    feeds: Mapping[str, np.ndarray],
    ranges: Mapping[str, tuple[float, float]],
    kind: Kind,
    seed: int,
    batch: int,
    axis: int,
) -> dict[str, np.ndarray]:
    """Returns inputs of other numbers, in the shapes of given ones.

    Args:
        feeds: Inputs by name, whose shapes and types are taken.
        ranges: Smallest and largest declared value, by name.
        kind: "range": uniform within the declared range. "beyond": around it, also negative, zero and far out.
        seed: Seed of the draw.
        batch: Number of samples.
        axis: Axis of the samples.

    What is not real (token ids, masks) keeps its own values, each sample turned along its last axis.
    """
    found = {}
    for place, (name, value) in enumerate(feeds.items()):
        first = value.take([0], axis)
        if value.dtype.kind != "f":
            found[name] = np.concatenate([np.roll(first, k, -1) for k in range(batch)], axis)
            continue
        shape = (*first.shape[:axis], batch, *first.shape[axis + 1 :])
        low, high = ranges.get(name, (0.0, 1.0))
        u = draw(1000 * seed + place, shape)
        found[name] = (low + (high - low) * u if kind == "range" else _around(low, high, u)).astype(value.dtype)
    return found


def varied(
    feeds: Mapping[str, np.ndarray], ranges: Mapping[str, tuple[float, float]], axis: int
) -> dict[str, np.ndarray]:
    """Returns inputs of which samples are of four kinds in turn, so that neurons fire at different rates.

    As they are, the same at all steps, at either end of the declared range, and both of these: what changes from step
    to step averages out in a membrane.

    Args:
        feeds: Inputs by name, over the declared range.
        ranges: Smallest and largest declared value, by name.
        axis: Axis of the samples; where it is 1, steps are in front.
    """
    found = {}
    for name, value in feeds.items():
        made = np.moveaxis(value.copy(), axis, 0)
        if value.dtype.kind == "f":
            low, high = ranges.get(name, (0.0, 1.0))
            for ends in (made[2::4], made[3::4]):
                ends[:] = np.where(ends < 0.5 * (low + high), low, high)
            if axis:
                for steady in (made[1::4], made[3::4]):
                    steady[:] = steady[:, :1]
        found[name] = np.ascontiguousarray(np.moveaxis(made, 0, axis))
    return found


def _around(low: float, high: float, u: np.ndarray) -> np.ndarray:
    middle, width = 0.5 * (low + high), (high - low) or 1.0
    out = _BEYOND * width * (2.0 * u - 1.0)
    flat = out.reshape(-1)
    for every, factor in _FAR:
        flat[every - 1 :: every] *= factor
    wide = (middle + flat).reshape(u.shape)
    wide.reshape(-1)[4::5] = 0.0
    return wide


def paired_spikes(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random spikes `[T, B, ...]`, uint8, of which the second half are the complement of the first.

    So that every neuron fires, and every neuron is silent: over samples where their number is even, else over steps.
    """
    axis = pair_axis(shape)
    if axis is None:
        return random_spikes(seed, shape)
    half = random_spikes(seed, (*shape[:axis], shape[axis] // 2, *shape[axis + 1 :]))
    return np.concatenate((half, 1 - half), axis)


def pair_axis(shape: tuple[int, ...]) -> int | None:
    """Returns the axis along which spikes are complemented, or None where there are no two halves."""
    return next((axis for axis in (1, 0) if len(shape) > axis and shape[axis] and shape[axis] % 2 == 0), None)


def random_spikes(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random spikes, uint8, half of them ones; the same on every machine and with every NumPy."""
    count = math.prod(shape)
    words = np.random.PCG64(seed).random_raw(max(1, -(-count // 64)))
    return np.unpackbits(np.asarray(words).astype("<u8").view(np.uint8), count=count).reshape(shape)


def positions(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns the flat indices into `[T, B, ...]` of the currents that are kept.

    Random ones, and for every index of every axis behind the batch at least one, so that each output channel keeps a
    current; each together with the one at the same place where the spikes are complemented: a neuron that it reads
    fires in one of the two.
    """
    size = math.prod(shape)
    if size <= 4 * KEPT:
        return np.arange(size)
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = rng.integers(size, size=KEPT)
    of_axes = (_moved(rng.integers(size, size=n), shape, 2 + at, np.arange(n)) for at, n in enumerate(shape[2:]))
    flat = np.concatenate((drawn, *of_axes))
    axis = pair_axis(shape)
    if axis is not None:
        half = shape[axis] // 2
        flat = np.concatenate((flat, _moved(flat, shape, axis, (_index(flat, shape, axis) + half) % shape[axis])))
    flat.sort()
    return flat[np.concatenate(([True], flat[1:] != flat[:-1]))]  # np.unique hashes, which takes longer


def _index(flat: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Returns the index along an axis of flat indices."""
    return flat // math.prod(shape[axis + 1 :]) % shape[axis]


def _moved(flat: np.ndarray, shape: tuple[int, ...], axis: int, index: np.ndarray) -> np.ndarray:
    """Returns flat indices with another index along an axis."""
    return flat + (index - _index(flat, shape, axis)) * math.prod(shape[axis + 1 :])


def samples(steps: int, decisions: int, work: int = 0) -> int:
    """Returns how many samples a covering run has: enough draws of every neuron, an even number, and no more work.

    Args:
        steps: Time steps T.
        decisions: Spike decisions of one sample in all layers.
        work: Floating-point operations of one sample of a model without neurons, whose weights any sample reads; 0 of
            one with neurons.
    """
    wanted = 2 * -(-DRAWS // max(1, steps))
    most = min(DECISIONS // max(1, decisions), OPERATIONS // work if work else DECISIONS)
    return max(2, min(wanted, most - most % 2))
