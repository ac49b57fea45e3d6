"""Where the event engine keeps a neuron: rows x places x channels, channels last, and the maps to and from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import UnsupportedError
from neurokit.hw_sim.graph.network import Network, Population
from neurokit.hw_sim.graph.projection import Projection

_WINDOWED = ("conv", "pool", "maxpool")


@dataclass(frozen=True)
class Layout:
    """The inner order of a view or population.

    Attributes:
        shape: Its shape outside, row-major.
        rows: Rows (the unit of parallel work).
        width: Places in a row.
        channels: Channels of a place.
        channels_first: Whether the first axis outside is the channel.
    """

    shape: tuple[int, ...]
    rows: int
    width: int
    channels: int
    channels_first: bool

    @classmethod
    def of(cls, shape: tuple[int, ...], channels_first: bool) -> Layout:
        """Returns the layout of `shape`: images [C, H, W], sequences [C, L], positions x features, or flat."""
        if channels_first and len(shape) in (2, 3):
            width = shape[2] if len(shape) == 3 else 1
            return cls(shape, shape[1], width, shape[0], True)
        return cls(shape, math.prod(shape[:-1]), 1, shape[-1], False)

    @property
    def size(self) -> int:
        """The number of neurons."""
        return self.rows * self.width * self.channels

    def inward(self, values: NDArray[Any]) -> NDArray[Any]:
        """Returns `[T, *shape]` or `[T, size]` in inner order, `[T, size]`."""
        if not self.channels_first:
            return values.reshape(len(values), self.size)
        moved = np.moveaxis(values.reshape(len(values), *self.shape), 1, -1)
        return np.ascontiguousarray(moved).reshape(len(values), self.size)

    def outward(self, values: NDArray[Any]) -> NDArray[Any]:
        """Returns values in inner order `[T, ...]` as `[T, size]`, row-major over the shape outside."""
        if not self.channels_first:
            return values.reshape(len(values), self.size)
        inner = values.reshape(len(values), *self.shape[1:], self.shape[0])
        return np.ascontiguousarray(np.moveaxis(inner, -1, 1)).reshape(len(values), self.size)

    def numbers(self) -> NDArray[np.int64]:
        """Returns the outer flat number of each inner position, `[size]`."""
        return self.inward(np.arange(self.size)[None])[0]


def population_layout(network: Network, population: Population) -> Layout:
    """Returns the layout in which most of a population's projections need no reordering."""
    touching = [(p.source_shape, p) for p in network.out_of(population.name) if p.source_index is None]
    touching += [(p.target_shape, p) for p in network.into(population.name) if p.target_index is None]
    windowed = any(p.kind in _WINDOWED and shape == population.shape for shape, p in touching)
    linear = any(p.kind == "linear" and shape == population.shape for shape, p in touching)
    image = len(population.shape) == 3 and not linear
    return Layout.of(population.shape, windowed or image)


def view_layouts(projection: Projection) -> tuple[Layout, Layout]:
    """Returns the layouts in which a projection's rule reads and writes.

    Raises:
        UnsupportedError: If it has three spatial axes.
    """
    windowed = projection.kind in _WINDOWED
    if windowed and len(projection.kernel) > 2:
        raise UnsupportedError(
            f"the event engine cannot run {projection.name!r} with {len(projection.kernel)} spatial axes",
            expected="one or two spatial axes",
        )
    return Layout.of(projection.source_shape, windowed), Layout.of(projection.target_shape, windowed)


def positions(view: Layout, index: NDArray[np.int64] | None, population: Layout) -> NDArray[np.int64] | None:
    """Returns for each inner position of a view the inner position in the population (-1: none).

    None means that the two are the same, so that nothing has to be moved.
    """
    neurons = view.numbers() if index is None else index[view.numbers()]
    inner = np.empty(population.size, np.int64)
    inner[population.numbers()] = np.arange(population.size)
    places = np.where(neurons >= 0, inner[neurons], -1)
    same_rows = (view.rows, view.width, view.channels) == (population.rows, population.width, population.channels)
    if same_rows and np.array_equal(places, np.arange(population.size)):
        return None
    return places
