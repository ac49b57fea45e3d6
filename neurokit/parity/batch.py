"""Samples in a batch: each one's answer must be its own, whatever stands beside it and wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.over_time import batch_axes
from neurokit.parity.forcing import in_bounds
from neurokit.parity.free_run import own_spikes

if TYPE_CHECKING:
    from neurokit.parity.vectors import Vectors
    from neurokit.target import Probe

# Orders in which samples are run together. Sample 0 is the first of the test vectors; a fault that depends on the
# size shows in one of them, one that depends on the place in the turned orders.
ORDERS: tuple[tuple[int, ...], ...] = ((1, 0), (3, 0, 4, 1, 2))
# A run of more spike decisions a sample than this, or without neurons of more numbers that go in and out, is repeated
# in a batch of two only: five volumes of 96 voxels a side at once took 14 GiB.
MANY = 2_000_000


@dataclass(frozen=True)
class Batches:
    """What the runs of several samples found.

    Attributes:
        faults: One line each.
        equal: Whether every sample has the very bits together that it has alone; None where nothing was run.
    """

    faults: tuple[str, ...] = ()
    equal: bool | None = None


Feeds = dict[str, np.ndarray]
Run = tuple[list[np.ndarray], list[np.ndarray]]


def judge_batches(
    probe: Probe,
    vectors: Vectors,
    fixed: int | None,
    relative: float,
    exact: bool,
    own: Run | None = None,
    shapes: Sequence[Sequence[object]] = (),
) -> Batches:
    """Runs different samples alone and together.

    Args:
        probe: The artifact.
        vectors: Its test vectors.
        fixed: The artifact's batch size, or None where it is free.
        relative: Largest error of an output, relative to its largest element, that another order of summation makes
            in a model without layers.
        exact: Whether every bit must be equal.
        own: What the artifact gave to the test vectors' input, where that is known already.
        shapes: Declared sizes of every output.
    """
    if probe.fixed_input or fixed == 1:
        return Batches()
    axis = 0 if vectors.time_input == "image" else 1
    orders = _orders(fixed, _size(vectors))
    samples = make_samples({n: v.take([0], axis) for n, v in vectors.feeds.items()}, 1 + max(map(max, orders)))
    out_axes = batch_axes(vectors.time_output, len(vectors.outputs), shapes, fixed or 0)
    run = _Batch(probe, vectors, axis, out_axes, fixed, relative, exact)
    alone: dict[int, Run] = {0: own} if own is not None and fixed is None and vectors.batch == 1 else {}
    faults: list[str] = []
    for order in orders:
        alone |= {k: run.alone(samples[k]) for k in order if k not in alone}
        try:
            fault = run.compare([samples[k] for k in order], [alone[k] for k in order])
        except ArtifactError as error:
            fault = f"it does not run: {error.what}"
        if fault:
            faults.append(f"in a batch of {len(order)}, {fault}")
    return Batches(tuple(faults), not faults and not run.parted)


def _size(vectors: Vectors) -> int:
    """Returns the spike decisions of a run, or without neurons the numbers that go in and out."""
    if vectors.layers:
        return sum(layer.spikes.size for layer in vectors.layers)
    return sum(value.size for value in (*vectors.feeds.values(), *vectors.outputs.values()))


def _orders(fixed: int | None, decisions: int) -> tuple[tuple[int, ...], ...]:
    if fixed is not None:
        forward = tuple(range(fixed))
        return (forward[1:] + forward[:1],)
    return ORDERS if decisions <= MANY else ORDERS[:1]


def make_samples(first: Feeds, count: int) -> list[Feeds]:
    """Returns different samples: the first one, and that one turned along its last axis and, if real, scaled down."""
    samples = [first]
    for k in range(1, count):
        turned = {n: np.roll(v, k * max(1, v.shape[-1] // 5), -1) for n, v in first.items()}
        samples.append({n: v * v.dtype.type(1.0 - k / 16.0) if v.dtype.kind == "f" else v for n, v in turned.items()})
    return samples


@dataclass(frozen=True)
class _Batch:
    """One artifact, and how its samples are put together and compared."""

    probe: Probe
    vectors: Vectors
    axis: int
    out_axes: tuple[int, ...]
    fixed: int | None
    relative: float
    exact: bool
    parted: list[int] = field(default_factory=list)  # sizes of batches in which another bit was seen

    def alone(self, sample: Feeds) -> Run:
        """Runs one sample; where the batch is fixed, among copies of itself."""
        return self._part(self.probe.free(self._together([sample] * (self.fixed or 1))), 0, self.fixed or 1)

    def compare(self, samples: list[Feeds], alone: list[Run]) -> str:
        """Runs samples together; returns how their answers differ from those that each gives alone, or ""."""
        feeds = self._together(samples)
        run = self.probe.free(feeds)
        parts = [self._part(run, k, len(alone)) for k in range(len(alone))]
        pairs = list(zip(parts, alone, strict=True))
        fires_alike = all(np.array_equal(a, b) for part, own in pairs for a, b in zip(part[1], own[1], strict=True))
        if fires_alike and all(_same_bits(part[0], own[0]) for part, own in pairs):
            return ""
        self.parted.append(len(alone))
        if not fires_alike:
            if self.exact or not self.probe.can_force():
                return "a sample's spikes depend on the others"
            bounds = {name: self._bound(name) for name in self.vectors.outputs}
            fault = next(iter(own_spikes(self.probe, self.vectors.layers, bounds, feeds, *run)[1]), "")
            return fault or self._forced(samples, alone)
        return next((fault for k in range(len(alone)) if (fault := self._answers(k, parts[k], alone[k]))), "")

    def _forced(self, samples: list[Feeds], alone: list[Run]) -> str:
        """Compares once more where spikes parted: together and alone are fed the same spikes, those alone.

        What parts by rounding at a near miss has the same currents then; what mixes samples has not.
        """
        many = self.fixed or 1
        given = [np.concatenate(parts, axis=1) for parts in zip(*(run[1] for run in alone), strict=True)]
        together = self.probe.currents(self._together(samples), given)
        for k, (sample, run) in enumerate(zip(samples, alone, strict=True)):
            spikes = [np.repeat(s, many, axis=1) for s in run[1]]
            single = self._part(self.probe.currents(self._together([sample] * many), spikes), 0, many)
            mine = self._part(together, k, len(alone))
            for layer, a, b in zip(self.vectors.layers, mine[1], single[1], strict=True):
                if not in_bounds(a.reshape(b.shape), b, layer.bound):
                    return f"{layer.path}: a sample's current depends on the others"
            if fault := self._answers(k, mine, single):
                return fault
        return ""

    def _answers(self, k: int, mine: Run, alone: Run) -> str:
        for name, y, own in zip(self.vectors.outputs, mine[0], alone[0], strict=True):
            bound = self._bound(name)
            if not self.vectors.layers and not self.exact:
                bound = self.relative * float(np.abs(own[np.isfinite(own)]).max(initial=0.0))
            if not in_bounds(y, own, bound):
                return f"the answer {name!r} to sample {k} is not the one it has alone"
        return ""

    def _bound(self, name: str) -> float:
        return 0.0 if self.exact else self.vectors.output_bounds.get(name, 0.0)

    def _together(self, samples: list[Feeds]) -> Feeds:
        return {n: np.ascontiguousarray(np.concatenate([f[n] for f in samples], self.axis)) for n in samples[0]}

    def _part(self, run: Run, index: int, count: int) -> Run:
        """Returns the part of a run of `count` samples that belongs to one of them."""
        outputs = [_sample(y, axis, index, count) for y, axis in zip(run[0], self.out_axes, strict=True)]
        return outputs, [_sample(s, 1, index, count) for s in run[1]]


def _same_bits(mine: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(mine, others, strict=True))


def _sample(value: np.ndarray, axis: int, index: int, count: int) -> np.ndarray:
    if value.ndim <= axis or value.shape[axis] % count:
        return value  # no batch axis: it cannot be one sample's own, and differs from what each has alone
    size = value.shape[axis] // count
    return value[(slice(None),) * axis + (slice(index * size, (index + 1) * size),)]
