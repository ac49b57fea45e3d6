"""Which spike travels to which core: exact packet counts from connection rules, without listing the edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.graph.block import Block, row_of
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.traffic.reach import Reach, mark_read, reach_of, same_sources
from neurokit.hw_sim.traffic.sender import Boxes, Sender
from neurokit.hw_sim.traffic.sparse import SparseSum

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Traffic:
    """Packets of one population: the packets of an entry go to every core of its group.

    Attributes:
        sources: The sending cut of each entry, `[n]`.
        group: The group of receiving cores of each entry, `[n]`.
        packets: Packets of each entry to each of these cores, `[T, n]`.
        cores: The cores of all groups, one group after the other, `[m]`.
        start: Where each group begins in `cores`, and the end, `[groups + 1]`.
    """

    sources: Ints
    group: Ints
    packets: Ints = field(repr=False)
    cores: Ints = field(repr=False)
    start: Ints = field(repr=False)

    @property
    def fan_out(self) -> Ints:
        """Receiving cores of each entry, `[n]`."""
        return (self.start[1:] - self.start[:-1])[self.group]

    def pairs(self) -> tuple[Ints, Ints]:
        """Returns every (entry, receiving core), entries ascending, `[P]` each."""
        many = self.fan_out
        entry = np.repeat(np.arange(len(many)), many)
        place = np.arange(len(entry)) - np.repeat(many.cumsum() - many, many)
        return entry, self.cores[self.start[self.group[entry]] + place]


@dataclass
class Listener:
    """The targets of one projection, as they lie on cores.

    Attributes:
        projection: What they listen to.
        blocks: Blocks of targets.
        cores: The core of each block.
    """

    projection: Projection
    blocks: list[Block] = field(default_factory=list)
    cores: list[int] = field(default_factory=list)

    def add(self, block: Block, core: int) -> None:
        """Adds a block; neighbours on one core become one block, so that most cores listen to a single box."""
        row = row_of(self.projection.target_shape)
        while self.blocks and self.cores[-1] == core and (both := self.blocks[-1].joined(block, row)) is not None:
            block = both
            self.blocks.pop()
            self.cores.pop()
        self.blocks.append(block)
        self.cores.append(core)


@dataclass(frozen=True)
class _Wanted:
    """Sources whose spikes are counted for a group of cores.

    Attributes:
        group: Group of each box.
        sign: 1, or -1 for what two boxes of a group have in common.
        boxes: `[K, 6]`, see `Reach`.
        combs: Number of the comb of each box, `[K]`.
    """

    group: Ints
    sign: Ints
    boxes: Ints
    combs: Ints


def traffic_of(sender: Sender, size: int, listeners: Sequence[Listener]) -> Traffic:
    """Returns the packets of one population: one for each spike and core that holds any of the neuron's targets.

    Args:
        sender: The population's spikes and cuts.
        size: Its neurons.
        listeners: Who listens to it.
    """
    return Wires(sender, size, listeners).carry(sender)


class Wires:
    """Which neurons of a population send to which cores: found once, for any number of workloads.

    Args:
        sender: The population's cuts; its spikes are not read.
        size: Its neurons.
        listeners: Who listens to it.

    Attributes:
        sources: The sending cut of each entry, `[n]`.
        group: The group of receiving cores of each entry, `[n]`.
        cores: The cores of all groups, one group after the other.
        start: Where each group begins in `cores`, and the end.
    """

    def __init__(self, sender: Sender, size: int, listeners: Sequence[Listener]) -> None:
        # Most cores listen to one box of sources: a window of a convolution, a row of a dense layer. Cores with one
        # box share one count; a core with two is counted by inclusion and exclusion, anything else neuron by neuron.
        reaches = [reach_of(listener.projection, listener.blocks, sender) for listener in listeners]
        self._combs = _Combs()
        rows, hard = _rows(listeners, reaches, self._combs)
        rows = rows[~np.isin(rows[:, 0], hard)]
        rows, _ = _distinct(rows)
        # Rows are sorted by core, so that a core with two boxes has them in adjacent rows.
        held, first, many = np.unique(rows[:, 0], return_index=True, return_counts=True)
        hard = np.union1d(hard, held[many > 2])
        one, two = first[many == 1], first[many == 2]
        singles, of_one = _distinct(rows[one, 1:])
        doubles, of_two = _distinct(np.concatenate([rows[two, 1:], rows[two + 1, 1:]], axis=1))
        # A spike that reaches a core through both of its boxes is one packet: the common part is taken off once.
        group, cut = self._box_entries(sender, _wanted(singles, doubles, self._combs))
        unions, reached = _unions(size, listeners, hard)
        cut_of, groups = sender.cut_numbers() if unions else cut, len(singles) + len(doubles)
        split = [np.unique(cut_of[sources], return_inverse=True) for sources in unions]
        self._unions = [(sources, place, len(cuts)) for sources, (cuts, place) in zip(unions, split, strict=True)]
        self.sources = np.concatenate([cut, *(cuts for cuts, _ in split)])
        self.group = np.concatenate([group, *(np.full(len(cuts), groups + k) for k, (cuts, _) in enumerate(split))])
        cores = [rows[one, 0], rows[two, 0], *(np.array(some, np.int64) for some in reached)]
        group_of = [of_one, of_two + len(singles), *(np.full(len(some), groups + k) for k, some in enumerate(reached))]
        self.cores, of_core = np.concatenate(cores), np.concatenate(group_of)
        order = np.lexsort((self.cores, of_core))  # one group's cores lie together: `start` says where they begin
        self.cores = self.cores[order]
        self.start = np.searchsorted(of_core[order], np.arange(groups + len(reached) + 1))

    def _box_entries(self, sender: Sender, wanted: _Wanted) -> tuple[Ints, Ints]:
        """Finds what is counted by boxes; returns group and cut of each entry."""
        self._parts: list[tuple[int, Boxes, Ints]] = []
        groups, sources = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number in np.unique(wanted.combs):
            chosen = np.flatnonzero(wanted.combs == number)
            box, cut, boxes = sender.within(wanted.boxes[chosen])
            groups.append(wanted.group[chosen[box]])
            sources.append(cut)
            self._parts.append((int(number), boxes, wanted.sign[chosen[box]]))
        group, source = np.concatenate(groups), np.concatenate(sources)
        self._sum: SparseSum | None = None
        if (wanted.sign > 0).all():
            return group, source
        # Boxes and their common part give several entries for one pair of group and cut: added up, with their signs.
        many = len(sender.blocks)
        key, place = np.unique(group * many + source, return_inverse=True)
        self._sum = SparseSum(np.arange(len(place)), place, len(key))
        return key // many, key % many

    def packets(self, sender: Sender) -> Ints:
        """Returns the packets of each entry to each core of its group, `[T, n]`."""
        parts = [np.zeros((sender.steps, 0), np.int64)]
        parts += [sender.count(boxes, self._combs.masks[number]) * sign for number, boxes, sign in self._parts]
        counted = np.concatenate(parts, axis=1)
        if self._sum is not None:
            counted = self._sum.of(counted)
        if not self._unions:
            return counted
        spikes, rest = sender.values(), []
        for sources, place, many in self._unions:
            rest.append(np.stack([np.bincount(place[step != 0], minlength=many) for step in spikes[:, sources]]))
        return np.concatenate([counted, *rest], axis=1)

    def carry(self, sender: Sender) -> Traffic:
        """Returns the packets of a workload; cuts that never spike make no entry."""
        packets = self.packets(sender)
        sending = packets.any(axis=0)
        return Traffic(self.sources[sending], self.group[sending], packets[:, sending], self.cores, self.start)


class _Combs:
    """Sets of places that a projection reads at all, by number; 0 is all of them."""

    def __init__(self) -> None:
        self.masks: list[NDArray[np.bool_] | None] = [None]
        self._known: dict[bytes, int] = {}

    def number(self, mask: NDArray[np.bool_] | None) -> int:
        """Returns the number of a set."""
        if mask is None:
            return 0
        key = np.packbits(mask).tobytes()
        if key not in self._known:
            self._known[key] = len(self.masks)
            self.masks.append(mask)
        return self._known[key]

    def both(self, a: int, b: int) -> int:
        """Returns the number of what two sets have in common."""
        first, second = self.masks[a], self.masks[b]
        if first is None or second is None:  # one of them is 0, all places: the other is what they share
            return max(a, b)
        return self.number(first & second)


def _rows(listeners: Sequence[Listener], reaches: Sequence[Reach], combs: _Combs) -> tuple[Ints, Ints]:
    """Returns (core, comb, box) of every block that listens to a box, and the cores that listen to anything else."""
    rows, hard = [np.zeros((0, 8), np.int64)], [np.zeros(0, np.int64)]
    for listener, reach in zip(listeners, reaches, strict=True):
        cores = np.array(listener.cores, np.int64)
        hard.append(cores[~reach.exact])
        filled = reach.exact & (reach.boxes[:, 1::2] > reach.boxes[:, ::2]).all(axis=1)
        comb = np.full(len(cores), combs.number(reach.comb))
        rows.append(np.column_stack([cores, comb, reach.boxes])[filled])
    return np.concatenate(rows), np.unique(np.concatenate(hard))


def _distinct(rows: Ints) -> tuple[Ints, Ints]:
    """Returns the different rows, sorted, and for each row its number among them."""
    if not len(rows):
        return rows, np.zeros(0, np.int64)
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    number = np.empty(len(rows), np.int64)
    number[order] = new.cumsum() - 1
    return ordered[new], number


def _wanted(singles: Ints, doubles: Ints, combs: _Combs) -> _Wanted:
    """Returns the boxes to count: one of a group, or two less what they have in common."""
    pair = len(singles) + np.arange(len(doubles))
    a, b = doubles[:, :7], doubles[:, 7:]
    common = np.empty_like(a)
    # Column 0 is the comb; then lower and upper ends in turn, and a common box has the larger lower, smaller upper.
    common[:, 1::2], common[:, 2::2] = np.maximum(a[:, 1::2], b[:, 1::2]), np.minimum(a[:, 2::2], b[:, 2::2])
    common[:, 0] = [combs.both(int(x), int(y)) for x, y in zip(a[:, 0], b[:, 0], strict=True)]
    boxes = np.concatenate([singles, a, b, common])
    group = np.concatenate([np.arange(len(singles)), pair, pair, pair])
    sign = np.ones(len(boxes), np.int64)
    sign[len(boxes) - len(common) :] = -1
    return _Wanted(group, sign, boxes[:, 1:], boxes[:, 0])


def _unions(size: int, listeners: Sequence[Listener], hard: Ints) -> tuple[list[Ints], list[list[int]]]:
    """Returns the sources of cores that listen to something else than one or two boxes, and the cores of each."""
    held: dict[int, list[tuple[Projection, Block]]] = {int(core): [] for core in hard}
    for listener in listeners if len(hard) else ():
        for block, core in zip(listener.blocks, listener.cores, strict=True):
            if core in held:
                held[core].append((listener.projection, block))
    # Cores of one layer often listen to the same odd set: it is found and counted once for all of them.
    alike: dict[frozenset[tuple[object, ...]], list[int]] = {}
    for core, parts in held.items():
        alike.setdefault(frozenset(same_sources(*part) for part in parts), []).append(core)
    same: dict[bytes, tuple[Ints, list[int]]] = {}
    for cores in alike.values():
        sources = _union(held[cores[0]], size)
        same.setdefault(sources.tobytes(), (sources, []))[1].extend(cores)
    return [sources for sources, _ in same.values()], [cores for _, cores in same.values()]


def _union(held: Sequence[tuple[Projection, Block]], size: int) -> Ints:
    """Returns every source of the held targets, ascending."""
    sources = np.zeros(size, np.bool_)
    rest: dict[str, tuple[Projection, NDArray[np.bool_]]] = {}
    for projection, block in {same_sources(*part): part for part in held}.values():
        if not mark_read(
            projection, block, sources
        ):  # a rule that no box describes: asked of the whole population, once for all of its blocks
            known = rest.get(projection.name, (projection, np.zeros(projection.target_size, np.bool_)))[1]
            rest[projection.name] = (projection, known | block.mask())
    for projection, targets in rest.values():
        sources |= projection.sources_of(targets[None])[0]
    return np.flatnonzero(sources)
