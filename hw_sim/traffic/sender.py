"""Spikes of one population's cuts inside boxes of its neurons, from sums over all corners."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.graph.block import Block, Edges, fold

Ints = NDArray[np.int64]

# Sums at corners take eight bytes each: so many are formed at a time.
_MOST_SUMMED = 1 << 25
# Pairs of a box and a cut that are tested for an overlap at a time.
_MOST_TESTED = 1 << 22


class Sender:
    """Counts the spikes of one population's cuts that lie in a set of source neurons.

    A box is (first channel, past the last channel, top, bottom, left, right) over channels x rows x columns.

    Args:
        blocks: The population's cuts; all have one view.
        row: Places of one row; every cut holds whole rows or part of one.
        steps: T.
        spikes: Gives 0 or 1, `[T, N]`; None: every neuron sends in every step.
        folded: Gives the spikes summed over ranges of channels, `[T, K, P]`, if somebody keeps them; for cuts in the
            population's own view.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        row: int,
        steps: int,
        spikes: Callable[[], NDArray[np.uint8]] | None = None,
        folded: Callable[[Edges], NDArray[np.integer]] | None = None,
    ) -> None:
        self.blocks = blocks
        self.steps = steps
        self.view = blocks[0].view
        # A view whose places are no whole number of rows (a flattened image) is one long row.
        self.row = row if self.view[1] % row == 0 else self.view[1]
        self._spikes = spikes
        self._folded = folded
        self._edges = np.array([(*b.channels, *b.places) for b in blocks], np.int64)
        rectangles, fits = as_rectangles(self._edges[:, 2], self._edges[:, 3], self.row)
        self.rectangular = bool(fits.all())
        self._cuts = np.concatenate([self._edges[:, :2], rectangles], axis=1)

    def sending(
        self,
        steps: int,
        spikes: Callable[[], NDArray[np.uint8]] | None = None,
        folded: Callable[[Edges], NDArray[np.integer]] | None = None,
    ) -> Sender:
        """Returns the same cuts with other spikes."""
        other = copy.copy(self)
        other.steps, other._spikes, other._folded = steps, spikes, folded
        return other

    @property
    def whole(self) -> Ints:
        """The box of all neurons, `[6]`."""
        return np.array([0, self.view[0], 0, self.view[1] // self.row, 0, self.row], np.int64)

    def values(self) -> NDArray[np.uint8]:
        """Returns 0 or 1, `[T, N]`."""
        if self._spikes is None:
            return np.ones((self.steps, self.view[0] * self.view[1]), np.uint8)
        return self._spikes()

    def within(self, boxes: Ints) -> tuple[Ints, Ints, Boxes]:
        """Returns what each cut has in common with each box.

        Args:
            boxes: `[K, 6]`.

        Returns:
            For every box and cut that overlap their numbers, `[n]` each, and the n boxes that they have in common.
        """
        box, cut = self._overlaps(boxes)
        low = np.maximum(boxes[box, ::2], self._cuts[cut, ::2])
        high = np.minimum(boxes[box, 1::2], self._cuts[cut, 1::2])
        return box, cut, Boxes(low, high)

    def count(self, boxes: Boxes, comb: NDArray[np.bool_] | None) -> Ints:
        """Returns the spikes in each box, `[T, n]`.

        Args:
            boxes: What `within` returned.
            comb: Which places count at all, `[P]`; None for all.
        """
        if self._spikes is None and comb is None:  # everybody sends: the volume itself, and no sums are formed
            volume = boxes.volume
            return np.broadcast_to(volume, (self.steps, len(volume)))
        if self._spikes is not None and self._folded is not None:
            sums = self._folded(boxes.channels)
        else:
            values = self.values()
            sums = fold(values.reshape(len(values), *self.view), boxes.channels)
        if comb is not None:
            sums = sums * comb
        return boxes.count(sums.reshape(*sums.shape[:2], -1, self.row))

    def cut_numbers(self) -> Ints:
        """Returns the number of the cut that each neuron lies in, `[N]`."""
        numbers = np.zeros(self.view, np.int64)
        for number, block in enumerate(self.blocks):
            numbers[slice(*block.channels), slice(*block.places)] = number
        return numbers.reshape(-1)

    def _overlaps(self, boxes: Ints) -> tuple[Ints, Ints]:
        """Returns the numbers of every box and cut that have a neuron in common."""
        cuts = self._cuts.astype(np.int32)
        part = max(1, _MOST_TESTED // len(cuts))
        found = []
        for start in range(0, len(boxes), part):
            some = boxes[start : start + part].astype(np.int32)
            # An empty box lies between two equal edges and would overlap by the comparisons below.
            filled = np.asarray((some[:, ::2] < some[:, 1::2]).all(axis=1), np.bool_)
            meets = np.repeat(filled[:, None], len(cuts), axis=1)
            for axis in (0, 2, 4):
                meets &= some[:, None, axis] < cuts[None, :, axis + 1]
                meets &= cuts[None, :, axis] < some[:, None, axis + 1]
            box, cut = np.nonzero(meets)
            found.append((box + start, cut))
        return (
            np.concatenate([box for box, _ in found] or [np.zeros(0, np.int64)]),
            np.concatenate([cut for _, cut in found] or [np.zeros(0, np.int64)]),
        )


class Boxes:
    """Boxes of neurons, counted by sums at the corners of all of them.

    Args:
        low: First channel, row and column of each box, `[n, 3]`.
        high: One past the last of each, `[n, 3]`.

    Attributes:
        volume: Neurons of each box, `[n]`.
        channels: Edges of channels that any box has, ascending.
    """

    def __init__(self, low: Ints, high: Ints) -> None:
        self.volume: Ints = (high - low).prod(axis=1)
        edges = [np.unique(np.concatenate([low[:, axis], high[:, axis]])) for axis in range(3)]
        self.channels: Edges = tuple(edges[0].tolist())
        self._starts = edges[1:]
        low, high = (
            np.stack([np.searchsorted(found, end[:, axis]) for axis, found in enumerate(edges)], axis=1)
            for end in (low, high)
        )
        size = np.array([len(edges[1]) * len(edges[2]), len(edges[2]), 1])
        self._corners = []
        # Inclusion and exclusion: a corner counts positively with an odd number of upper ends, all three among them.
        for number in range(8):
            upper = [bool(number >> axis & 1) for axis in range(3)]
            self._corners.append((1 if sum(upper) % 2 else -1, np.where(upper, high, low) @ size))

    def count(self, values: NDArray[np.integer]) -> Ints:
        """Returns the sum over each box of `values` `[T, K, rows, columns]`, folded by `channels`; `[T, n]`."""
        if not len(self.volume):
            return np.zeros((len(values), 0), np.int64)
        rows, columns = self._starts
        out = np.zeros((len(values), len(self.volume)), np.int64)
        together = max(1, _MOST_SUMMED // (len(self.channels) * len(rows) * len(columns)))
        for start in range(0, len(values), together):
            some = values[start : start + together, :, : rows[-1], : columns[-1]]
            some = _ranges(_ranges(some, columns, 3), rows, 2)
            sums = np.zeros((len(some), *(1 + side for side in some.shape[1:])), np.int64)
            inner = sums[:, 1:, 1:, 1:]
            np.cumsum(some, axis=1, out=inner)
            np.cumsum(inner, axis=2, out=inner)
            np.cumsum(inner, axis=3, out=inner)
            flat = sums.reshape(len(sums), -1)
            for sign, place in self._corners:
                out[start : start + together] += sign * flat[:, place]
        return out


def _ranges(values: NDArray[np.integer], edges: Ints, axis: int) -> NDArray[np.integer]:
    """Returns the sums between edges of an axis."""
    if len(edges) - 1 == values.shape[axis]:
        return values
    if len(edges) == 2:
        inside = values[(slice(None),) * axis + (slice(edges[0], None),)]
        return np.asarray(inside.sum(axis=axis, keepdims=True, dtype=np.int32))
    return np.asarray(np.add.reduceat(values, edges[:-1], axis=axis, dtype=np.int32))


def as_rectangles(start: Ints, stop: Ints, row: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Returns (top, bottom, left, right) of ranges of places, and which of them are rectangles in rows of `row`."""
    whole = (start % row == 0) & (stop % row == 0)
    inside = (stop - 1) // row == start // row
    left, right = np.where(whole, 0, start % row), np.where(whole, row, (stop - 1) % row + 1)
    return np.stack([start // row, -(-stop // row), left, right], axis=1), (whole | inside) & (stop > start)
