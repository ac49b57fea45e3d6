"""Which spike travels to which core: exact packet counts from connection rules, without listing the edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.block import Block, corner_sums, integral, view_of
from neurokit.hw_sim.projection import Projection

Bools = NDArray[np.bool_]

# Boxes of source neurons are intersected pairwise; with more of them on one core the union is formed neuron by neuron.
_MOST_BOXES = 2

# Sums over all corners of a population take four bytes a neuron and step; beyond this they are formed box by box.
_MOST_SUMMED = 1 << 27


@dataclass(frozen=True)
class Box:
    """Source neurons as whole channels times a set of places: what a cut of a convolution listens to.

    Attributes:
        first: First channel.
        last: One past the last channel.
        places: Which places of each channel, `[P]`.
    """

    first: int
    last: int
    places: Bools = field(repr=False)

    def meet(self, other: Box) -> Box:
        """Returns the neurons that are in both."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Box(first, max(first, last), self.places & other.places)

    @cached_property
    def key(self) -> tuple[int, int, bytes]:
        """What distinguishes it from other boxes of one population."""
        return self.first, self.last, len(self.places).to_bytes(8) + np.packbits(self.places).tobytes()

    def rectangle(self, row: int) -> tuple[int, int, int, int] | None:
        """Returns first and last row and column of the places if they fill a rectangle, else None."""
        filled = np.flatnonzero(self.places)
        if len(filled) == 0:
            return 0, 0, 0, 0
        top, bottom = int(filled[0]) // row, int(filled[-1]) // row + 1
        columns = filled[: np.searchsorted(filled, (top + 1) * row)] % row
        left, right = int(columns[0]), int(columns[-1]) + 1
        inside = self.places.reshape(-1, row)[top:bottom, left:right]
        same = inside.size == len(filled) and bool(inside.all())
        return (top, bottom, left, right) if same else None

    @property
    def size(self) -> int:
        """The number of neurons."""
        return (self.last - self.first) * int(self.places.sum())


def box_of(projection: Projection, block: Block) -> Box | None:
    """Returns the sources of a block of targets as a box, or None where `Projection.sources_of` has to be asked."""
    if projection.source_index is not None or projection.target_index is not None:
        return None
    shape = projection.target_shape
    if block.view != view_of(shape):
        return None
    (first, last), (start, stop) = block.channels, block.places
    if projection.kind == "linear":
        return _linear_box(projection, block)
    inside = np.zeros(block.view[1], np.bool_)
    inside[start:stop] = True
    if projection.kind == "identity":
        return Box(first, last, inside)
    reached = inside.reshape(1, *shape[1:])
    for axis, window in enumerate(projection.windows(), start=1):
        reached = window.scatter(reached, axis)
    inputs, outputs = (s[0] // projection.groups for s in (projection.source_shape, shape))
    return Box(first // outputs * inputs, ((last - 1) // outputs + 1) * inputs, reached.reshape(-1))


def _linear_box(projection: Projection, block: Block) -> Box | None:
    shape = projection.source_shape
    if len(shape) == 1:
        return Box(0, shape[0], np.ones(1, np.bool_))
    features = projection.target_shape[-1]
    rows = np.zeros(math.prod(shape[1:-1]), np.bool_)
    rows[block.places[0] // features : -(-block.places[1] // features)] = True
    return Box(*block.channels, np.repeat(rows, shape[-1]))


@dataclass(frozen=True)
class Flow:
    """Packets from some cuts of a population to some cores: each cut sends its packets to every one of the cores.

    Attributes:
        sources: Numbers of the sending cuts, `[I]`.
        cores: Receiving cores, `[J]`.
        packets: Packets of each cut to each core, `[T, I]`.
    """

    sources: NDArray[np.int64]
    cores: NDArray[np.int64]
    packets: NDArray[np.int64] = field(repr=False)


class Sender:
    """Counts the spikes of one population's cuts that lie in a set of source neurons.

    Args:
        spikes: Gives 0 or 1, `[T, N]`.
        blocks: The population's cuts; all have one view.
        row: Places of one row.
    """

    def __init__(self, spikes: Callable[[], NDArray[np.uint8]], blocks: Sequence[Block], row: int = 1) -> None:
        self._spikes = spikes
        self._blocks = blocks
        self._view = blocks[0].view
        self._first, self._last = (np.array([b.channels[i] for b in blocks], np.int64) for i in (0, 1))
        self._start, self._stop = (np.array([b.places[i] for b in blocks], np.int64) for i in (0, 1))
        self._row = row
        self._rectangles = _rectangles(blocks, row)
        self._array: NDArray[np.uint8] | None = None
        self._corners: NDArray[np.int32] | None = None
        self._sums: tuple[bytes, NDArray[np.int64], NDArray[np.int64]] | None = None

    @property
    def array(self) -> NDArray[np.uint8]:
        """The spikes as `[T, channels, places]`, unpacked when they are first needed."""
        if self._array is None:
            flat = self._spikes()
            self._array = flat.reshape(len(flat), *self._view)
        return self._array

    def within(self, box: Box) -> NDArray[np.int64] | None:
        """Returns the spikes of each cut inside a box, `[T, cuts]`, or None if the box has another view."""
        if len(box.places) != self._view[1] or box.last > self._view[0]:
            return self._whole() if self._is_whole(box) else None
        rectangle = box.rectangle(self._row)
        if rectangle is not None and self._rectangles is not None and self.array.size <= _MOST_SUMMED:
            return self._inside(box, rectangle)
        key = np.packbits(box.places).tobytes()
        if self._sums is None or self._sums[0] != key:
            chosen = np.flatnonzero(box.places)
            everywhere = len(chosen) == self._view[1]
            self._sums = (key, integral(self.array if everywhere else self.array[:, :, chosen]), chosen)
        _, sums, chosen = self._sums
        first, last = np.clip(self._first, box.first, box.last), np.clip(self._last, box.first, box.last)
        start, stop = np.searchsorted(chosen, self._start), np.searchsorted(chosen, self._stop)
        return corner_sums(sums, first, last, start, stop)

    def among(self, sources: Bools) -> NDArray[np.int64]:
        """Returns the spikes of each cut inside any set of neurons `[N]`, `[T, cuts]`."""
        sums = integral(self.array * sources.reshape(self._view))
        return corner_sums(sums, self._first, self._last, self._start, self._stop)

    def _inside(self, box: Box, rectangle: tuple[int, int, int, int]) -> NDArray[np.int64]:
        """Returns the spikes of each cut inside whole channels of a rectangle, from sums over all corners."""
        if self._corners is None:
            steps, channels, places = self.array.shape
            sums = np.zeros((steps, channels + 1, places // self._row + 1, self._row + 1), np.int32)
            inner = sums[:, 1:, 1:, 1:]
            np.cumsum(self.array.reshape(inner.shape), axis=1, out=inner)
            np.cumsum(inner, axis=2, out=inner)
            np.cumsum(inner, axis=3, out=inner)
            self._corners = sums
        assert self._rectangles is not None
        top, bottom, left, right = (
            np.clip(edge, rectangle[k // 2 * 2], rectangle[k // 2 * 2 + 1]) for k, edge in enumerate(self._rectangles)
        )
        first, last = np.clip(self._first, box.first, box.last), np.clip(self._last, box.first, box.last)
        out = np.zeros((len(self._corners), len(first)), np.int64)
        for channel, c in ((last, 1), (first, -1)):
            for row, r in ((bottom, 1), (top, -1)):
                for column, k in ((right, 1), (left, -1)):
                    out += c * r * k * self._corners[:, channel, row, column]
        return out

    def _is_whole(self, box: Box) -> bool:
        return box.size == self._view[0] * self._view[1]

    def _whole(self) -> NDArray[np.int64]:
        everything = Box(0, self._view[0], np.ones(self._view[1], np.bool_))
        found = self.within(everything)
        assert found is not None
        return found


def _rectangles(blocks: Sequence[Block], row: int) -> tuple[NDArray[np.int64], ...] | None:
    """Returns first and last row and column of each block's places, or None if any is no rectangle."""
    start, stop = (np.array([b.places[i] for b in blocks], np.int64) for i in (0, 1))
    whole = (start % row == 0) & (stop % row == 0)
    inside = (stop - 1) // row == start // row
    if not bool((whole | inside).all()):
        return None
    left, right = np.where(whole, 0, start % row), np.where(whole, row, (stop - 1) % row + 1)
    return start // row, -(-stop // row), left, right


def flows(sender: Sender, size: int, listeners: dict[int, list[tuple[Projection, Block]]]) -> list[Flow]:
    """Returns the packets of one population: one for each spike and core that holds any of the neuron's targets.

    Args:
        sender: The population's spikes and cuts.
        size: Its neurons.
        listeners: For each receiving core the projections out of the population and the target ranges it holds.
    """
    grouped: dict[bytes, list[int]] = {}
    packets: dict[bytes, NDArray[np.int64]] = {}
    known: dict[tuple[str, Block], Box | None] = {}
    for core, held in listeners.items():
        boxes = _boxes(held, known)
        key = b"b" + repr([box.key for box in boxes]).encode()
        counted = packets.get(key) if boxes else None
        if counted is None and boxes:
            counted = _inclusive(sender, boxes)
        if counted is None:
            sources = _union(held, size)
            key = b"n" + np.packbits(sources).tobytes()
            counted = packets[key] if key in packets else sender.among(sources)
        packets[key] = counted
        grouped.setdefault(key, []).append(core)
    found = []
    for key, cores in grouped.items():
        sending = np.flatnonzero(packets[key].any(axis=0))
        if len(sending):
            found.append(Flow(sending, np.array(sorted(cores), np.int64), packets[key][:, sending]))
    return found


def _boxes(held: Sequence[tuple[Projection, Block]], known: dict[tuple[str, Block], Box | None]) -> list[Box]:
    """Returns the different boxes of sources; none where boxes cannot describe them."""
    boxes: dict[tuple[int, int, bytes], Box] = {}
    for projection, block in held:
        seen = projection.name, _canonical(projection, block)
        if seen not in known:
            known[seen] = box_of(projection, seen[1])
        box = known[seen]
        if box is None:
            return []
        boxes[box.key] = box
    return list(boxes.values()) if len(boxes) <= _MOST_BOXES and _same_places(boxes.values()) else []


def _canonical(projection: Projection, block: Block) -> Block:
    """Returns a block with the same sources for all blocks that differ only in channels of the same groups."""
    if projection.kind not in ("conv", "pool", "maxpool") or block.view != view_of(projection.target_shape):
        return block
    each = projection.target_shape[0] // projection.groups
    first, last = block.channels
    return Block(block.view, (first // each * each, -(-last // each) * each), block.places)


def _same_places(boxes: Iterable[Box]) -> bool:
    return len({len(box.places) for box in boxes}) == 1


def _inclusive(sender: Sender, boxes: Sequence[Box]) -> NDArray[np.int64] | None:
    """Returns the spikes in the union of at most two boxes, by inclusion and exclusion."""
    parts = [sender.within(box) for box in boxes]
    if len(boxes) == _MOST_BOXES:
        parts.append(sender.within(boxes[0].meet(boxes[1])))
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return known[0] if len(known) == 1 else known[0] + known[1] - known[2]


def _union(held: Sequence[tuple[Projection, Block]], size: int) -> Bools:
    """Returns every source of the held targets, `[N]`."""
    sources = np.zeros(size, np.bool_)
    targets: dict[str, Bools] = {}
    rules: dict[str, Projection] = {}
    for projection, block in held:
        rules[projection.name] = projection
        targets[projection.name] = targets.get(projection.name, False) | block.mask()
    for name, projection in rules.items():
        sources |= projection.sources_of(targets[name][None])[0]
    return sources
