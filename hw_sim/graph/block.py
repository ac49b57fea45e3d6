"""Blocks of a population (some channels at some places), the form in which it is cut onto cores, and sums over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

# Sums are kept at every place of a small population and at every row of a large one, where cores are mostly cut.
# Anything else is counted again, exactly.
_FINE = 1 << 16


@dataclass(frozen=True)
class Block:
    """Whole channels at a range of places, for a population seen as `[channels, places]`.

    Attributes:
        view: (C, P); flat neuron number = channel * P + place.
        channels: First and one past the last channel.
        places: First and one past the last place.
    """

    view: tuple[int, int]
    channels: tuple[int, int]
    places: tuple[int, int]

    @classmethod
    def span(cls, size: int, start: int, stop: int) -> Block:
        """Returns adjacent neurons of a population of any shape."""
        return cls((size, 1), (start, stop), (0, 1))

    @property
    def size(self) -> int:
        """The number of neurons."""
        return (self.channels[1] - self.channels[0]) * (self.places[1] - self.places[0])

    def mask(self) -> NDArray[np.bool_]:
        """Returns which neurons of the population are in the block, `[N]`."""
        inside = np.zeros(self.view, np.bool_)
        inside[slice(*self.channels), slice(*self.places)] = True
        return inside.reshape(-1)


def view_of(shape: Sequence[int]) -> tuple[int, int]:
    """Returns a shape as (channels, places): the first axis and all others."""
    return shape[0], math.prod(shape[1:])


def row_of(shape: Sequence[int]) -> int:
    """Returns how many places make a row: the last axis, where that is not the channels."""
    return shape[-1] if len(shape) > 1 else 1


def integral(values: NDArray[np.integer]) -> Counts:
    """Returns the sum before each corner of `values` `[T, C, P]`, `[T, C + 1, P + 1]`."""
    steps, channels, places = values.shape
    out = np.zeros((steps, channels + 1, places + 1), np.int64)
    np.cumsum(values, axis=1, out=out[:, 1:, 1:])
    np.cumsum(out[:, 1:, 1:], axis=2, out=out[:, 1:, 1:])
    return out


def corner_sums(sums: Counts, first: Counts, last: Counts, start: Counts, stop: Counts) -> Counts:
    """Returns the sum over each of K rectangles from their integral, `[T, K]`."""
    return sums[:, last, stop] - sums[:, first, stop] - sums[:, last, start] + sums[:, first, start]


@dataclass(frozen=True)
class BlockSums:
    """Sums of an integer over blocks of a population, for each time step.

    Attributes:
        shape: Shape of the population.
        every: Places between two kept sums.
        sums: `integral` over channels and kept places.
        values: Gives the values again, `[T, N]`, for other cuts.
    """

    shape: tuple[int, ...]
    every: int
    sums: Counts = field(repr=False)
    values: Callable[[], NDArray[np.integer]] = field(repr=False)

    @classmethod
    def of(cls, shape: tuple[int, ...], values: Callable[[], NDArray[np.integer]]) -> BlockSums:
        """Returns the sums of what `values` gives, `[T, N]`."""
        channels, places = view_of(shape)
        every = 1 if channels * places <= _FINE or len(shape) < 3 else shape[-1]
        array = values()
        kept = array.reshape(len(array), channels, places // every, every)
        return cls(shape, every, integral(kept.sum(axis=3, dtype=np.int64) if every > 1 else kept[..., 0]), values)

    def over(self, blocks: Sequence[Block]) -> Counts:
        """Returns the sum over each block, `[T, K]`; all blocks have one view."""
        first, last = (np.array([b.channels[i] for b in blocks], np.int64) for i in (0, 1))
        start, stop = (np.array([b.places[i] for b in blocks], np.int64) for i in (0, 1))
        kept = blocks[0].view == view_of(self.shape)
        if kept and not ((start % self.every).any() or (stop % self.every).any()):
            return corner_sums(self.sums, first, last, start // self.every, stop // self.every)
        array = self.values()
        return corner_sums(integral(array.reshape(len(array), *blocks[0].view)), first, last, start, stop)
