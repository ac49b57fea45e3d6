"""Packets over the links of a mesh under XY routing: first along the row, then along the column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.mapping.mapping import Mapping
from neurokit.hw_sim.traffic.sparse import SparseSum

Counts = NDArray[np.int64]

WAYS = ("east", "west", "north", "south")


class Mesh:
    """Ways of packets over the tiles of a mapping.

    A packet loads the links from its start to its goal. Each link direction is kept as differences along its axis, so
    that a packet costs two additions whatever its way.

    Args:
        mapping: Where the cores lie.
    """

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._topology = mapping.profile.topology
        self.present = self._topology.kind == "mesh"
        size = np.maximum(mapping.positions.max(axis=0) + 1, [self._topology.width, self._topology.height])
        self._columns, self._rows = (int(size[0]), int(size[1])) if self.present else (1, 1)
        # One more row and column: a way that ends at the border is closed there.
        self.cells = (self._rows + 1) * (self._columns + 1)

    def at(self, cores: Counts) -> Counts:
        """Returns column and row of each core's tile, `[n, 2]`."""
        return self._mapping.positions[self._mapping.tile_of(cores)]

    def hops(self, start: Counts, goal: Counts) -> dict[str, Counts]:
        """Returns the links along rows and columns, and between chips, from each start to its goal, `[n]` each."""
        ways = np.abs(goal - start)
        found = {"hop_x": ways[:, 0], "hop_y": ways[:, 1]}
        if self._mapping.chips > 1:
            chip = np.array([self._topology.width, self._topology.height])
            found["chip_hop"] = np.abs(goal // chip - start // chip).sum(axis=1)
        return found

    def links(self, sender: Counts, start: Counts, goal: Counts, many: int) -> SparseSum | None:
        """Returns what adds packets of senders to the differences of all four directions, `[4 cells]`.

        Args:
            sender: Number of the sender of each way, `[n]`.
            start: Its tile, `[n, 2]`.
            goal: The receiver's tile, `[n, 2]`.
            many: Senders in all.
        """
        if not self.present or self._rows * self._columns <= 1:
            return None
        # The row first, at the start's y; then the column, at the goal's x. Westward and southward links are those
        # that leave the tiles after the goal, up to the start: both ends move by one.
        (x0, y0), (x1, y1) = start.T, goal.T
        rows = [
            self._along(0, sender, x0 < x1, self._cell(x0, y0), self._cell(x1, y0)),
            self._along(1, sender, x1 < x0, self._cell(x1 + 1, y0), self._cell(x0 + 1, y0)),
            self._along(2, sender, y0 < y1, self._cell(x1, y0), self._cell(x1, y1)),
            self._along(3, sender, y1 < y0, self._cell(x1, y1 + 1), self._cell(x1, y0 + 1)),
        ]
        senders, cells, signs = (np.concatenate(part) for part in zip(*rows, strict=True))
        key, place = np.unique(cells * many + senders, return_inverse=True)  # ways of one sender share most links
        weight = np.bincount(place, weights=signs, minlength=len(key)).astype(np.int64)
        used = weight != 0
        return SparseSum(key[used] % many, key[used] // many, len(WAYS) * self.cells, weight[used])

    def loads(self, differences: Counts) -> dict[str, Counts]:
        """Returns the packets over the link that leaves each tile, by direction, `[T, rows, columns]`.

        Args:
            differences: Of all four directions, `[T, 4 cells]`.
        """
        found = {}
        for number, way in enumerate(WAYS):
            part = differences[:, number * self.cells : (number + 1) * self.cells]
            grid = part.reshape(len(part), self._rows + 1, self._columns + 1)
            axis = 2 if way in ("east", "west") else 1
            found[way] = np.ascontiguousarray(grid.cumsum(axis=axis)[:, : self._rows, : self._columns])
        return found

    def _cell(self, x: Counts, y: Counts) -> Counts:
        return y * (self._columns + 1) + x

    def _along(
        self, way: int, sender: Counts, taken: NDArray[np.bool_], first: Counts, past: Counts
    ) -> tuple[Counts, Counts, Counts]:
        """Returns sender, cell and sign of the links from cell `first` to before cell `past`, of ways that go so."""
        chosen, offset = sender[taken], way * self.cells
        cells = np.concatenate([first[taken] + offset, past[taken] + offset])
        return np.concatenate([chosen, chosen]), cells, np.repeat([1, -1], len(chosen))
