"""Packets over the links of a mesh under XY routing: first along the row, then along the column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.mapping.mapping import Mapping

Counts = NDArray[np.int64]

WAYS = ("east", "west", "north", "south")


class Mesh:
    """Adds up hops and the load of every link.

    A packet loads the links from its start to its goal. Each link direction is kept as differences along its axis, so
    that a packet costs two additions whatever its way.

    Args:
        mapping: Where the cores lie.
        steps: T.
    """

    def __init__(self, mapping: Mapping, steps: int) -> None:
        self._mapping = mapping
        self._topology = mapping.profile.topology
        size = np.maximum(mapping.positions.max(axis=0) + 1, [self._topology.width, self._topology.height])
        self._columns, self._rows = (int(size[0]), int(size[1])) if self._topology.kind == "mesh" else (1, 1)
        self._steps = steps
        # One more row and column: a way that ends at the border is closed there.
        self._differences = {way: np.zeros((steps, (self._rows + 1) * (self._columns + 1)), np.int64) for way in WAYS}

    def send(
        self, packets: Counts, entry: Counts, pieces: Counts, own: Counts, cores: Counts, terms: dict[str, Counts]
    ) -> None:
        """Books packets from pieces to cores.

        Args:
            packets: Packets of each entry, `[T, n]`.
            entry: The entry of each pair of sender and receiver, ascending, `[P]`.
            pieces: The sending piece of each entry, `[n]`.
            own: Its core, `[n]`.
            cores: The receiving core of each pair, `[P]`.
            terms: Receives "hop_x", "hop_y" and "chip_hop" of the pieces, `[T, pieces]`.
        """
        if self._topology.kind != "mesh" or not len(entry):
            return
        start, goal = self._at(own)[entry], self._at(cores)
        ways = np.abs(goal - start)
        self._book(packets, entry, pieces, ways[:, 0], terms["hop_x"])
        self._book(packets, entry, pieces, ways[:, 1], terms["hop_y"])
        if self._mapping.chips > 1:
            chip = np.array([self._topology.width, self._topology.height])
            crossed = np.abs(goal // chip - start // chip).sum(axis=1)
            self._book(packets, entry, pieces, crossed, terms["chip_hop"])
        if self._rows * self._columns > 1:
            # The row first, at the start's y; then the column, at the goal's x. Westward and southward links are those
            # that leave the tiles after the goal, up to the start: both ends move by one.
            (x0, y0), (x1, y1) = start.T, goal.T
            self._along("east", packets, entry, x0 < x1, self._cell(x0, y0), self._cell(x1, y0))
            self._along("west", packets, entry, x1 < x0, self._cell(x1 + 1, y0), self._cell(x0 + 1, y0))
            self._along("north", packets, entry, y0 < y1, self._cell(x1, y0), self._cell(x1, y1))
            self._along("south", packets, entry, y1 < y0, self._cell(x1, y1 + 1), self._cell(x1, y0 + 1))

    def loads(self) -> dict[str, Counts]:
        """Returns the packets over the link that leaves each tile, by direction, `[T, rows, columns]`."""
        found = {}
        for way, differences in self._differences.items():
            grid = differences.reshape(self._steps, self._rows + 1, self._columns + 1)
            axis = 2 if way in ("east", "west") else 1
            found[way] = np.ascontiguousarray(grid.cumsum(axis=axis)[:, : self._rows, : self._columns])
        return found

    def _at(self, cores: Counts) -> Counts:
        return self._mapping.positions[self._mapping.tile_of(cores)]

    def _cell(self, x: Counts, y: Counts) -> Counts:
        return y * (self._columns + 1) + x

    @staticmethod
    def _book(packets: Counts, entry: Counts, pieces: Counts, ways: Counts, out: Counts) -> None:
        """Adds packets times the length of their ways to the sending pieces."""
        total = np.zeros(packets.shape[1], np.int64)
        np.add.at(total, entry, ways)
        for row, count in zip(out, packets, strict=True):
            np.add.at(row, pieces, count * total)

    def _along(
        self, way: str, packets: Counts, entry: Counts, taken: NDArray[np.bool_], first: Counts, past: Counts
    ) -> None:
        """Loads the links from cell `first` to before cell `past`, for the pairs that go this way."""
        chosen, begin, end = entry[taken], first[taken], past[taken]
        for row, count in zip(self._differences[way], packets, strict=True):
            np.add.at(row, begin, count[chosen])  # differences: summed along the axis they are the load of each link
            np.subtract.at(row, end, count[chosen])
