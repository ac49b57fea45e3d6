"""Which spike travels to which core: exact packet counts from connection rules, without listing the edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.block import Block, corner_sums, integral, view_of
from neurokit.hw_sim.projection import Projection

Bools = NDArray[np.bool_]

# Boxes of source neurons are intersected pairwise; with more of them on one core the union is formed neuron by neuron.
_MOST_BOXES = 2


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
    """

    def __init__(self, spikes: Callable[[], NDArray[np.uint8]], blocks: Sequence[Block]) -> None:
        self._spikes = spikes
        self._blocks = blocks
        self._view = blocks[0].view
        self._first, self._last = (np.array([b.channels[i] for b in blocks], np.int64) for i in (0, 1))
        self._start, self._stop = (np.array([b.places[i] for b in blocks], np.int64) for i in (0, 1))
        self._array: NDArray[np.uint8] | None = None
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

    def _is_whole(self, box: Box) -> bool:
        return box.size == self._view[0] * self._view[1]

    def _whole(self) -> NDArray[np.int64]:
        everything = Box(0, self._view[0], np.ones(self._view[1], np.bool_))
        found = self.within(everything)
        assert found is not None
        return found


def flows(sender: Sender, size: int, listeners: dict[int, list[tuple[Projection, Block]]]) -> list[Flow]:
    """Returns the packets of one population: one for each spike and core that holds any of the neuron's targets.

    Args:
        sender: The population's spikes and cuts.
        size: Its neurons.
        listeners: For each receiving core the projections out of the population and the target ranges it holds.
    """
    grouped: dict[bytes, list[int]] = {}
    packets: dict[bytes, NDArray[np.int64]] = {}
    for core, held in listeners.items():
        boxes = _boxes(held)
        key = b"b" + b"|".join(_key(box) for box in boxes)
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


def _boxes(held: Sequence[tuple[Projection, Block]]) -> list[Box]:
    """Returns the different boxes of sources; none where boxes cannot describe them."""
    boxes: dict[bytes, Box] = {}
    for projection, block in held:
        box = box_of(projection, block)
        if box is None:
            return []
        boxes[_key(box)] = box
    return list(boxes.values()) if len(boxes) <= _MOST_BOXES and _same_places(boxes.values()) else []


def _same_places(boxes: Iterable[Box]) -> bool:
    return len({len(box.places) for box in boxes}) == 1


def _key(box: Box) -> bytes:
    return f"{box.first}:{box.last}:{len(box.places)}:".encode() + np.packbits(box.places).tobytes()


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
