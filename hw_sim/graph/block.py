"""Blocks of a population (some channels at some places), the form in which it is cut onto cores, and sums over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

Edges = tuple[int, ...]

_BYTE = 255


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

    def joined(self, other: Block, row: int) -> Block | None:
        """Returns this block and one that follows it as one rectangle in rows of `row` places, or None."""
        if self.places == other.places and self.channels[1] == other.channels[0]:
            return Block(self.view, (self.channels[0], other.channels[1]), self.places)
        first, past = self.places[0], other.places[1]
        if self.channels != other.channels or self.places[1] != other.places[0]:
            return None
        whole = first % row == 0 and past % row == 0
        return Block(self.view, self.channels, (first, past)) if whole or (past - 1) // row == first // row else None


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


def fold(values: NDArray[np.integer], edges: Edges) -> NDArray[np.integer]:
    """Returns sums over ranges of channels, `[T, K, P]`.

    Args:
        values: `[T, C, P]`; of uint8 only zeros and ones.
        edges: K + 1 ascending channels: range k holds the channels from `edges[k]` to before `edges[k + 1]`.
    """
    many, size = len(edges) - 1, edges[1] - edges[0]
    if many == edges[-1] - edges[0]:
        return values[:, edges[0] : edges[-1]]
    # Bytes are added as bytes, many at a time, as long as no sum can pass 255.
    kind = np.uint8 if values.dtype == np.uint8 else np.int32
    most = _BYTE if kind == np.uint8 else size * many
    if size <= most and edges == tuple(range(edges[0], edges[-1] + 1, size)):
        parts = values[:, edges[0] : edges[-1]].reshape(len(values), many, size, -1)
        return np.add.reduce(parts, axis=2, dtype=kind).astype(np.int32, copy=False)
    out = np.zeros((len(values), many, values.shape[2]), np.int32)
    for number, (first, last) in enumerate(itertools.pairwise(edges)):
        for start in range(first, last, min(most, last - first)):
            out[:, number] += np.add.reduce(values[:, start : min(last, start + most)], axis=1, dtype=kind)
    return out


@dataclass(frozen=True)
class Grid:
    """A population's cut as a grid of all edges that its blocks have.

    Attributes:
        view: (C, P) of all blocks.
        channels: Edges of channels, ascending.
        places: Edges of places, ascending.
        corners: First channel, past the last, first place and past the last of each block, as numbers of edges,
            `[4, K]`.
        sizes: Neurons of each block, `[K]`.
    """

    view: tuple[int, int]
    channels: Edges
    places: Edges
    corners: Counts = field(repr=False)
    sizes: Counts = field(repr=False)

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Grid:
        """Returns the grid of blocks of one view."""
        edges = np.array([(*block.channels, *block.places) for block in blocks], np.int64).T
        channels, places = np.unique(edges[:2]), np.unique(edges[2:])
        corners = np.concatenate([np.searchsorted(channels, edges[:2]), np.searchsorted(places, edges[2:])])
        sizes = (edges[1] - edges[0]) * (edges[3] - edges[2])
        return cls(blocks[0].view, tuple(channels.tolist()), tuple(places.tolist()), corners, sizes)


class BlockSums:
    """Sums of an integer over blocks of a population, for each time step.

    Args:
        shape: Shape of the population.
        values: Gives the values, `[T, N]`.
        folded: Gives their sums over ranges of channels, `[T, K, P]`, or what every channel has, where that is
            cheaper than by the values.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        values: Callable[[], NDArray[np.integer]],
        folded: Callable[[Edges], NDArray[np.integer] | Alike | None] | None = None,
    ) -> None:
        self.values = values
        self._view = view_of(shape)
        self._folded = folded

    def over(self, cut: Sequence[Block] | Grid) -> Counts:
        """Returns the sum over each block, `[T, K]`; all blocks have one view."""
        grid = cut if isinstance(cut, Grid) else Grid.of(cut)
        found = self._folded(grid.channels) if self._folded is not None and grid.view == self._view else None
        if found is None:
            array = self.values()
            found = fold(array.reshape(len(array), *grid.view), grid.channels)
        first, last, start, stop = grid.corners
        sums = found.every[:, None] if isinstance(found, Alike) else found
        sums = sums[..., : grid.places[-1]]
        if len(grid.places) <= sums.shape[-1]:
            sums = np.add.reduceat(sums, grid.places[:-1], axis=-1, dtype=np.int32)
        sums = integral(sums)
        if isinstance(found, Alike):
            channels = np.array(grid.channels)
            return (sums[:, 1, stop] - sums[:, 1, start]) * (channels[last] - channels[first])
        return sums[:, last, stop] - sums[:, first, stop] - sums[:, last, start] + sums[:, first, start]


@dataclass(frozen=True)
class Alike:
    """Values that are the same in every channel.

    Attributes:
        every: Those of one channel, `[T, P]`.
    """

    every: NDArray[np.integer]
