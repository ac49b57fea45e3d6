"""What a tensor of the traced program is made of: which neuron or which output of a connection each element is.

Every element carries a number: time step x size + position. Reshaping, permuting, slicing, padding or joining tensors
does the same to their numbers, so that exact connections come out whatever a model does between two layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokit.hw_sim.graph.projection import Projection

_MOST_DELAYS = 64  # different ones in one tensor: each becomes a connection of its own
Limits = tuple[float | None, float | None]


@dataclass(frozen=True)
class Term:
    """One addend of a tensor: values of a population, or of a connection that nobody has received yet.

    Attributes:
        source: Name of a population, or a projection without a target.
        ids: For each element of the tensor time step x size + position, or -1 for a constant.
        size: Positions of one time step.
        static: Whether the source has no time axis (an image that is shown in every step).
        gain: Constant factor of a population's values; None if it is no single number.
        delay: Time steps by which its values are late, beside what `ids` say.
    """

    source: str | Projection
    ids: Tensor
    size: int
    static: bool = False
    gain: float | None = 1.0
    delay: int = 0

    def scaled(self, factor: float | None) -> Term:
        """Returns the term times a constant; None stands for a factor that is no single number."""
        if isinstance(self.source, str):
            return replace(self, gain=None if factor is None or self.gain is None else self.gain * factor)
        return replace(self, source=scaled(self.source, factor))

    def per_step(self, steps: int) -> NDArray[np.int64] | None:
        """Returns the position of each element of one time step, or None if time steps are mixed."""
        key = (steps, self.static, self.size)
        kept: dict[Any, NDArray[np.int64] | None] | None = getattr(self.ids, "_positions", None)
        if kept is None:  # the same numbers are asked for by every operation on the way
            kept = {}
            self.ids._positions = kept  # type: ignore[attr-defined]
        if key not in kept:
            kept[key] = self._per_step(steps)
        return kept[key]

    def _per_step(self, steps: int) -> NDArray[np.int64] | None:
        if self.in_place(steps):
            return np.arange(self.size)
        if self.static and self.ids.shape[0] == 1:
            return self.ids.reshape(-1).numpy().astype(np.int64)
        if self.ids.dim() == 0 or self.ids.shape[0] == 0 or self.ids.shape[0] % steps:
            return None
        rows = self.ids.reshape(steps, -1)  # a picture's windows may lie on the first axis, too
        shift = 0 if self.static else self.size
        moved = torch.where(rows >= 0, rows - torch.arange(steps)[:, None] * shift, rows)
        if not bool((moved == moved[:1]).all()) or bool((moved[0] >= self.size).any()):
            return None
        return moved[0].numpy().astype(np.int64)

    def in_place(self, steps: int) -> bool:
        """Returns whether the elements are the source's own, in its order, in every step (known without looking)."""
        fresh = getattr(self.ids, "_fresh", False) and not self.static
        return fresh and self.ids.shape[0] == steps and self.ids.numel() == steps * self.size

    def by_delay(self, steps: int) -> tuple[Term, ...] | None:
        """Returns terms of one delay each, of a term whose elements are late by whole steps (and zero before).

        None if its elements mix time steps in any other way, or are late by too many different numbers of steps.
        """
        if self.in_place(steps) or self.per_step(steps) is not None:
            return (self,)
        if self.static or self.ids.dim() == 0 or self.ids.shape[0] != steps:
            return None
        rows = self.ids.reshape(steps, -1)
        time = torch.arange(steps)[:, None]
        there = rows >= 0
        first = there.int().argmax(dim=0, keepdim=True)
        late = torch.where(there.any(dim=0), first[0] - rows.gather(0, first)[0] // self.size, 0)
        place = torch.where(there.any(dim=0), rows.gather(0, first)[0] % self.size, -1)
        wanted = torch.where((time >= late) & (place >= 0), (time - late) * self.size + place, -1)
        if int(late.min()) < 0 or not torch.equal(wanted, rows.to(wanted.dtype)):
            return None
        delays = late[place >= 0].unique().tolist()
        if len(delays) > _MOST_DELAYS:
            return None
        return tuple(
            replace(
                self,
                delay=self.delay + delay,
                ids=torch.where((late == delay) & (place >= 0), time * self.size + place, -1).reshape(self.ids.shape),
            )
            for delay in delays
        )


@dataclass(frozen=True)
class Value:
    """A tensor of the program that depends on the input.

    Attributes:
        terms: Its addends; empty if `unknown`.
        unknown: Whether it comes from an operation that is not understood.
        once: Whether it has no time axis any more (it comes after an average over time).
        offset: Whether constants were added on the way, so that zeros of the source may be no zeros here.
        constant: What was added on the way, in the tensor's shape; None if nothing (or it is not `known`).
        known: Whether `constant` is right.
        limits: Smallest and largest value, where a limit is still to be applied to the sum of all this.
    """

    terms: tuple[Term, ...] = ()
    unknown: bool = False
    once: bool = False
    offset: bool = False
    constant: Tensor | None = None
    known: bool = True
    limits: Limits | None = None

    @property
    def pure(self) -> bool:
        """Whether every addend is a population, not a pending connection."""
        return bool(self.terms) and all(isinstance(term.source, str) for term in self.terms)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Value:
        """Returns the value after an operation that only moves elements."""
        terms = tuple(replace(term, ids=_moved(term.ids, function)) for term in self.terms)
        return replace(self, terms=terms, constant=None if self.constant is None else function(self.constant))

    def times(self, factor: float | None, constant: Tensor | None) -> Value:
        """Returns the value times a constant (None: no single number), its own constant being `constant` then."""
        limits = self.limits
        if limits is not None:
            assert factor is not None  # `Builder.limited` applies limits before anything else
            limits = (times(limits[0], factor), times(limits[1], factor))
        return replace(self, terms=tuple(term.scaled(factor) for term in self.terms), constant=constant, limits=limits)

    def limited(self, low: float | None, high: float | None) -> Value:
        """Returns the value with limits that are still to be applied, after those that it has."""
        if self.limits is not None:
            before = self.limits
            low, high = (
                clipped(end, low, high) if end is not None else new
                for end, new in zip(before, (low, high), strict=True)
            )
        return replace(self, limits=(low, high))

    def normalised(self) -> Value:
        """Returns the value after a scale and an offset for each channel."""
        return replace(self.times(None, None), offset=True, known=False)


def times(value: float | None, factor: float) -> float | None:
    """Returns a limit times a positive factor."""
    return None if value is None else value * factor


def clipped(value: float, low: float | None, high: float | None) -> float:
    """Returns a number within limits."""
    value = value if low is None else max(value, low)
    return value if high is None else min(value, high)


def scaled(projection: Projection, factor: float | None) -> Projection:
    """Returns a connection with its weights multiplied by a constant, or unknown for a factor None."""
    if factor is None:
        return replace(projection, weight=None, gain=None)
    if projection.weight is not None:
        return projection if factor == 1.0 else replace(projection, weight=projection.weight * factor)
    return replace(projection, gain=None if projection.gain is None else projection.gain * factor)


def numbered(shape: tuple[int, ...], steps: int) -> Tensor:
    """Returns fresh numbers for a tensor whose first axis is time (or that has none, with steps = 1)."""
    total = int(np.prod(shape, dtype=np.int64))
    ids = torch.arange(total, dtype=torch.int32 if total < 2**31 else torch.int64).reshape(shape)
    ids._fresh = True  # type: ignore[attr-defined]  # spares looking at millions of numbers that are in order
    return ids


def _moved(ids: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns moved numbers; what only looks at them in another shape leaves fresh ones fresh."""
    try:
        moved = function(ids)
    except RuntimeError:  # a view of numbers that lie in memory otherwise than the tensor does
        moved = function(ids.contiguous())
    if getattr(ids, "_fresh", False) and moved.data_ptr() == ids.data_ptr() and moved.numel() == ids.numel():
        moved._fresh = moved.is_contiguous()  # type: ignore[attr-defined]
    return moved


def index_or_none(positions: NDArray[np.int64], size: int) -> NDArray[np.int64] | None:
    """Returns positions, or None where they are 0, 1, 2, ... size - 1."""
    return None if len(positions) == size and np.array_equal(positions, np.arange(size)) else positions


def sample_shape(tensor: Tensor, steps: int) -> tuple[int, ...]:
    """Returns the shape of one sample in one time step; of one number `(1,)`.

    Args:
        tensor: `[T, 1, *shape]`, `[T, *shape]`, or `[T * windows, *shape]` where windows lie on the first axis.
        steps: T.
    """
    windows = (tensor.shape[0] // steps,) if tensor.shape[0] > steps else ()
    shape = (*windows, *tensor.shape[1:]) or (1,)
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
