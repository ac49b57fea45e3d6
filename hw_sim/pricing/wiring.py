"""What a mapping fixes about its counts: cuts, ways and links, found once for any number of samples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.graph.block import Grid, view_of
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.mapping.mapper import map_network
from neurokit.hw_sim.mapping.mapping import Mapping, cuts_of, mapping_wires
from neurokit.hw_sim.mapping.partition import stays_inside
from neurokit.hw_sim.pricing.mesh import Mesh
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.traffic.sender import Sender
from neurokit.hw_sim.traffic.sparse import SparseSum
from neurokit.hw_sim.traffic.traffic import Wires
from neurokit.stages import stage

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Cuts:
    """The pieces that hold a population.

    Attributes:
        held: Their numbers.
        grid: Their blocks.
        members: Populations that lie on the same cores.
    """

    held: Counts
    grid: Grid
    members: tuple[str, ...]

    @property
    def sizes(self) -> Counts:
        """Neurons of each piece, `[K]`."""
        return self.grid.sizes


class Ways:
    """How one population's packets travel on a mapping.

    Args:
        wires: Which neurons send to which cores.
        mapping: Where everything lies.
        mesh: Its tiles.
        name: The population.
    """

    def __init__(self, wires: Wires, mapping: Mapping, mesh: Mesh, name: str) -> None:
        self.wires = wires
        held = np.array(cuts_of(mapping, name), np.int64)
        own = np.array([mapping.pieces[number].core for number in held], np.int64)[wires.sources]
        many = np.diff(wires.start)[wires.group]
        entry = np.repeat(np.arange(len(many)), many)
        place = np.arange(len(entry)) - np.repeat(many.cumsum() - many, many)
        core = wires.cores[wires.start[wires.group[entry]] + place]
        pieces, entries = len(mapping.pieces), len(wires.sources)
        index = np.full(max(mapping.cores, default=-1) + 1, -1)
        index[mapping.cores] = np.arange(len(mapping.cores))
        if not mapping.network[name].binary:  # a real-valued sum stays on its own core: nothing travels
            away = own[entry] != core
            entry, core = entry[away], core[away]
            self._grouped: SparseSum | None = None
            self._arrive = SparseSum(entry, index[core], len(mapping.cores))
        else:
            groups = len(wires.start) - 1
            self._grouped = SparseSum(np.arange(entries), wires.group, groups)
            group_of = np.repeat(np.arange(groups), np.diff(wires.start))
            self._arrive = SparseSum(group_of, index[wires.cores], len(mapping.cores))
        each = {"packet": np.bincount(entry, minlength=entries)}
        self._links: SparseSum | None = None
        if mesh.present and len(entry):
            start, goal = mesh.at(own)[entry], mesh.at(core)
            for term, hops in mesh.hops(start, goal).items():
                each[term] = np.bincount(entry, weights=hops, minlength=entries).astype(np.int64)
            self._links = mesh.links(entry, start, goal, entries)
        sender, numbers = held[wires.sources], np.arange(entries)
        self._sent = {term: SparseSum(numbers, sender, pieces, weight) for term, weight in each.items()}

    def book(self, packets: Counts, terms: dict[str, Counts], packets_in: Counts, links: Counts) -> None:
        """Adds packets of each entry, `[T, n]`, to what pieces send, cores receive and links carry."""
        for term, sent in self._sent.items():
            terms[term] += sent.of(packets)
        packets_in += self._arrive.of(packets if self._grouped is None else self._grouped.of(packets))
        if self._links is not None:
            links += self._links.of(packets)


class Wiring:
    """Everything about counts on a mapping that is the same for every sample.

    Args:
        mapping: Where everything lies.
        recorded: Populations of which spikes are recorded.
    """

    def __init__(self, mapping: Mapping, recorded: Collection[str]) -> None:
        self.mapping = mapping
        self.mesh = Mesh(mapping)
        self.cuts: dict[str, Cuts] = {}
        for name, numbers in mapping.held.items():
            blocks = [mapping.pieces[number].block for number in numbers]
            members = mapping.pieces[numbers[0]].populations
            self.cuts[name] = Cuts(np.array(numbers, np.int64), Grid.of(blocks), members)
        self._spiking: dict[str, bool] = {}
        network = mapping.network
        operands = {name for product in network.products for name in (product.left, product.right)}
        for name in (population.name for population in network.populations):
            members = self.cuts[name].members if name in self.cuts else ()
            leaves = [p for p in network.out_of(name) if not stays_inside(p, members)]
            if name in self.cuts and (leaves or name in operands):
                shortcuts = all(p.kind == "identity" and not network[name].binary for p in leaves)
                self._spiking[name] = name in recorded and not shortcuts
        self._senders = {name: self._silent(name) for name in self._spiking}
        wires = mapping_wires(mapping, self._senders)
        self.ways = {name: Ways(found, mapping, self.mesh, name) for name, found in wires.items()}

    def sender(self, name: str, tally: Tally) -> Sender:
        """Returns what a population sends; a sum without a raster sends every value in every step."""
        silent = self._senders[name]
        if not self._spiking[name]:
            return silent.sending(tally.time_steps)
        own = silent.view == view_of(self.mapping.network[name].shape)
        folded = partial(tally.folded, name) if own else None
        return silent.sending(tally.time_steps, partial(tally.unpacked, name), folded)

    def _silent(self, name: str) -> Sender:
        blocks = [self.mapping.pieces[number].block for number in self.mapping.held[name]]
        return Sender(blocks, self.mapping.row_of(name), 1)


# Mappings and what they fix, by network, limits and topology: chips that differ in prices alone share one.
Placements = dict[tuple[object, ...], Wiring]


def placed(
    known: Placements, workload: Workload, profile: HardwareProfile, strategy: str
) -> tuple[tuple[object, ...], Wiring]:
    """Returns a network's mapping on a chip with its key in `known`; one that is missing there is made and added."""
    key = (id(workload.network), profile.limits, profile.topology)  # a mapping keeps its network, so the id is its own
    if key not in known:
        with stage("map"):
            mapping = map_network(workload.network, profile, strategy, enforce=False)
        known[key] = Wiring(mapping, workload.rasters.keys())
    return key, known[key]
