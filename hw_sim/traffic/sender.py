"""Spikes of one population's cuts inside boxes of its neurons, from sums over all corners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.graph.block import Block

Ints = NDArray[np.int64]

# Sums over all corners take four bytes a neuron and step: so many are formed at a time.
_MOST_SUMMED = 1 << 26
# Pairs of a box and a cut that are tested for an overlap at a time.
_MOST_TESTED = 1 << 22


class Corners:
    """Keeps sums over all corners, which every chip's mapping of a workload can use.

    Args:
        most: Bytes that are kept at most.
    """

    def __init__(self, most: int = 1 << 30) -> None:
        self._room = most
        self._kept: dict[Any, NDArray[np.int32]] = {}

    def get(self, key: Any, make: Callable[[], NDArray[np.int32]]) -> NDArray[np.int32]:
        """Returns the sums of a key, made at most once if there is room for them."""
        if key in self._kept:
            return self._kept[key]
        sums = make()
        if sums.nbytes <= self._room:
            self._kept[key] = sums
            self._room -= sums.nbytes
        return sums


class Sender:
    """Counts the spikes of one population's cuts that lie in a set of source neurons.

    A box is (first channel, past the last channel, top, bottom, left, right) over channels x rows x columns.

    Args:
        blocks: The population's cuts; all have one view.
        row: Places of one row; every cut holds whole rows or part of one.
        steps: T.
        spikes: Gives 0 or 1, `[T, N]`; None: every neuron sends in every step.
        kept: Where sums are kept, and the population's key there.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        row: int,
        steps: int,
        spikes: Callable[[], NDArray[np.uint8]] | None = None,
        kept: tuple[Corners, Any] | None = None,
    ) -> None:
        self.blocks = blocks
        self.steps = steps
        self.view = blocks[0].view
        # A view whose places are no whole number of rows (a flattened image) is one long row.
        self.row = row if self.view[1] % row == 0 else self.view[1]
        self._spikes = spikes
        self._kept = kept
        self._edges = np.array([(*b.channels, *b.places) for b in blocks], np.int64)
        rectangles, fits = as_rectangles(self._edges[:, 2], self._edges[:, 3], self.row)
        self.rectangular = bool(fits.all())
        self._cuts = np.concatenate([self._edges[:, :2], rectangles], axis=1)

    @property
    def whole(self) -> Ints:
        """The box of all neurons, `[6]`."""
        return np.array([0, self.view[0], 0, self.view[1] // self.row, 0, self.row], np.int64)

    def values(self) -> NDArray[np.uint8]:
        """Returns 0 or 1, `[T, N]`."""
        if self._spikes is None:
            return np.ones((self.steps, self.view[0] * self.view[1]), np.uint8)
        return self._spikes()

    def within(self, boxes: Ints, comb: NDArray[np.bool_] | None) -> tuple[Ints, Ints, Ints]:
        """Returns the spikes of each cut inside each box.

        Args:
            boxes: `[K, 6]`.
            comb: Which places count at all, `[P]`; None for all.

        Returns:
            For every box and cut that overlap their numbers and the spikes, `[n]`, `[n]` and `[T, n]`.
        """
        box, cut = self._overlaps(boxes)
        # What a box and a cut have in common is a box again; its spikes are eight corners of a summed volume.
        low = np.maximum(boxes[box, ::2], self._cuts[cut, ::2])
        high = np.minimum(boxes[box, 1::2], self._cuts[cut, 1::2])
        if self._spikes is None and comb is None:  # everybody sends: the volume itself, and no sums are formed
            volume = (high - low).prod(axis=1)
            return box, cut, np.broadcast_to(volume, (self.steps, len(volume)))
        return box, cut, self._inside(low, high, comb)

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

    def _inside(self, low: Ints, high: Ints, comb: NDArray[np.bool_] | None) -> Ints:
        """Returns the spikes in boxes from their lower to their upper corners `[n, 3]`, `[T, n]`."""
        rows = self.view[1] // self.row
        size = np.array([(rows + 1) * (self.row + 1), self.row + 1, 1])
        corners = []
        # Inclusion and exclusion: a corner counts positively with an odd number of upper ends, all three among them.
        for number in range(8):
            upper = [bool(number >> axis & 1) for axis in range(3)]
            corners.append((1 if sum(upper) % 2 else -1, np.where(upper, high, low) @ size))
        out = np.zeros((self.steps, len(low)), np.int64)
        # Corner sums take four bytes a neuron and step: a large population is done some steps at a time.
        together = max(1, _MOST_SUMMED // (self.view[0] * self.view[1]))
        for start in range(0, self.steps, together):
            sums = self._sums(start, min(self.steps, start + together), comb)
            for t, step in enumerate(sums.reshape(len(sums), -1), start=start):
                for sign, place in corners:
                    out[t] += sign * step[place]
        return out

    def _sums(self, start: int, stop: int, comb: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        def make() -> NDArray[np.int32]:
            values = self.values()[start:stop]
            shape = (stop - start, self.view[0], self.view[1] // self.row, self.row)
            cube = values.reshape(shape) if comb is None else values.reshape(shape) * comb.reshape(1, 1, *shape[2:])
            sums = np.zeros(tuple(n + 1 if axis else n for axis, n in enumerate(shape)), np.int32)
            inner = sums[:, 1:, 1:, 1:]
            # In place and innermost axis first, so that the long runs of memory are summed before the strided ones.
            np.cumsum(cube, axis=3, out=inner)
            np.cumsum(inner, axis=2, out=inner)
            np.cumsum(inner, axis=1, out=inner)
            return sums

        if self._kept is None:
            return make()
        store, name = self._kept
        return store.get((name, self.row, start, b"" if comb is None else np.packbits(comb).tobytes()), make)


def as_rectangles(start: Ints, stop: Ints, row: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Returns (top, bottom, left, right) of ranges of places, and which of them are rectangles in rows of `row`."""
    whole = (start % row == 0) & (stop % row == 0)
    inside = (stop - 1) // row == start // row
    left, right = np.where(whole, 0, start % row), np.where(whole, row, (stop - 1) % row + 1)
    return np.stack([start // row, -(-stop // row), left, right], axis=1), (whole | inside) & (stop > start)
