"""Exact counts of a mapped workload: what each piece, core and link does in each time step, before any price."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.graph.block import view_of
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.mapping.mapping import Mapping
from neurokit.hw_sim.mapping.partition import stays_inside
from neurokit.hw_sim.mapping.violations import pooled_from
from neurokit.hw_sim.pricing.mesh import WAYS
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.pricing.wiring import Cuts, Wiring
from neurokit.reports.energy import CoreReport, LinkReport

Counts = NDArray[np.int64]

# Counts that a piece has in each time step; each is priced by the term of its name (see terms.TERMS).
PIECE_TERMS = (
    "synaptic_event_dense",
    "synaptic_event_conv",
    "synaptic_event_sparse",
    "graded_event",
    "shortcut_add",
    "product_operation",
    "neuron_access",
    "neuron_update",
    "neuron_idle",
    "spike",
    "packet",
    "hop_x",
    "hop_y",
    "chip_hop",
    "weight_read",
    "state_read",
    "state_write",
)

_CATEGORY = {"linear": "dense", "conv": "conv", "pool": "conv", "maxpool": "conv", "identity": "sparse"}


def category(projection: Projection) -> str:
    """Returns the term of an event through a projection."""
    return f"synaptic_event_{_CATEGORY[projection.kind]}"


@dataclass(frozen=True)
class MappedCounts:
    """What a mapped workload does in each time step.

    Attributes:
        mapping: Where everything lies.
        time_steps: T.
        terms: Count by term (`PIECE_TERMS`) for each time step and piece, `[T, pieces]`; traffic is booked on the
            piece that sends it.
        packets_in: Packets received by each core in use, `[T, cores]`, in the order of `mapping.cores`.
        links: Packets over the mesh link that leaves each tile, by direction ("east", "west", "north", "south"),
            `[T, rows, columns]` over all chips.
    """

    mapping: Mapping
    time_steps: int
    terms: dict[str, Counts] = field(repr=False)
    packets_in: Counts = field(repr=False)
    links: dict[str, Counts] = field(repr=False)

    @cached_property
    def core_rows(self) -> tuple[CoreReport, ...]:
        """Every core in use, as reports show it."""
        mapping = self.mapping
        cores = np.array(mapping.cores, np.int64)
        places = mapping.positions[mapping.tile_of(cores)].tolist() if len(cores) else []
        events = sum(self.by_core(term).sum(axis=0) for term in PIECE_TERMS[:3])
        held: dict[int, list[int]] = {}
        for number, piece in enumerate(mapping.pieces):
            held.setdefault(piece.core, []).append(number)
        rows = []
        for index, core in enumerate(mapping.cores):
            on_it = [mapping.pieces[number] for number in held[core]]
            layers = tuple(dict.fromkeys(piece.populations[0] for piece in on_it))
            neurons = sum(piece.size for piece in on_it)
            handled = int(np.asarray(events)[index])
            x, y = places[index]
            rows.append(CoreReport(core, x, y, layers, neurons, mapping.load_of(core), handled))
        return tuple(rows)

    @cached_property
    def link_rows(self) -> tuple[LinkReport, ...]:
        """Every mesh link in use, as reports show it."""
        rows = []
        for way, load in self.links.items():
            total = load.sum(axis=0)
            rows += [LinkReport(int(x), int(y), way, int(total[y, x])) for y, x in np.argwhere(total)]
        return tuple(rows)

    @cached_property
    def core_of_piece(self) -> NDArray[np.int64]:
        """Index into `mapping.cores` of each piece; -1 for inputs."""
        place = {core: index for index, core in enumerate(self.mapping.cores)}
        return np.array([place.get(piece.core, -1) for piece in self.mapping.pieces], np.int64)

    def by_core(self, term: str) -> Counts:
        """Returns a count for each core in use, `[T, cores]` (inputs left out)."""
        return self._by_core[term]

    @cached_property
    def _by_core(self) -> dict[str, Counts]:
        inside = np.flatnonzero(self.core_of_piece >= 0)
        order = inside[np.argsort(self.core_of_piece[inside], kind="stable")]
        if not len(order):
            return {term: np.zeros((self.time_steps, 0), np.int64) for term in self.terms}
        first = np.flatnonzero(np.diff(self.core_of_piece[order], prepend=-1))
        return {term: np.add.reduceat(count[:, order], first, axis=1) for term, count in self.terms.items()}

    @cached_property
    def layer_of_piece(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Names of the layers on the chip, and the number of each piece's layer among them."""
        names = [piece.populations[0] for piece in self.mapping.pieces]
        layers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return tuple(layers), np.array([layers[name] for name in names], np.int64)

    def total(self, term: str) -> int:
        """Returns a count over all time steps and pieces."""
        return int(self.terms[term].sum())


def count_on(mapping: Mapping, tally: Tally, wiring: Wiring | None = None) -> MappedCounts:
    """Counts a workload on a mapping.

    Args:
        mapping: Where everything lies.
        tally: The workload's counts.
        wiring: What the mapping fixes, if somebody keeps it for several workloads.

    Raises:
        InputError: If the two are of different networks.
    """
    if mapping.network is not tally.workload.network:
        raise InputError("a mapping and a workload of different networks", expected="one network")
    wiring = wiring or Wiring(mapping, tally.workload.rasters.keys())
    shape = (tally.time_steps, len(mapping.pieces))
    terms = {term: np.zeros(shape, np.int64) for term in PIECE_TERMS}
    packets_in = np.zeros((tally.time_steps, len(mapping.cores)), np.int64)
    links = np.zeros((tally.time_steps, len(WAYS) * wiring.mesh.cells), np.int64)
    for name, cuts in wiring.cuts.items():  # the finest sums over channels first: all others are sums of these
        if name in tally.spikes and cuts.grid.view == view_of(mapping.network[name].shape):
            tally.folded(name, cuts.grid.channels)
    for name, ways in wiring.ways.items():
        ways.book(ways.wires.packets(wiring.sender(name, tally)), terms, packets_in, links)
    for name in wiring.cuts:
        _count_population(mapping, tally, name, wiring.cuts[name], terms)
    return MappedCounts(mapping, tally.time_steps, terms, packets_in, wiring.mesh.loads(links))


def _count_population(mapping: Mapping, tally: Tally, name: str, cuts: Cuts, terms: dict[str, Counts]) -> None:
    network = mapping.network
    held, grid, sizes = cuts.held, cuts.grid, cuts.sizes
    added = np.zeros((tally.time_steps, len(held)), np.int64)
    weights = np.zeros_like(added)
    if pooled_from(network, name, mapping.profile.limits):
        return  # part of the layer before it: each spike is passed on, and counted where it arrives
    for projection in network.into(name):
        if stays_inside(projection, cuts.members):
            continue  # a sum formed on the same core: its parts were booked as they arrived
        if tally.is_shortcut(projection):
            arrived = np.broadcast_to(sizes, added.shape)
            terms["shortcut_add"][:, held] += arrived
        else:
            passed_on = bool(_spiking_source(mapping, projection.source))
            arrived = (tally.forwarded(projection) if passed_on else tally.events[projection.name]).over(grid)
            binary = passed_on or network[projection.source].binary
            terms[category(projection) if binary else "graded_event"][:, held] += arrived
            weights += arrived if projection.kind in ("conv", "linear") else 0
        added = added + arrived
    added = added + _count_products(mapping, tally, name, held, sizes, terms)
    terms["weight_read"][:, held] += weights
    terms["state_read"][:, held] += added
    terms["state_write"][:, held] += added
    if name in tally.active:
        _count_neurons(tally, name, cuts, terms)
    if network[name].binary and name in tally.spikes and network[name].role != "input":
        terms["spike"][:, held] += tally.spikes[name].over(grid)


def _spiking_source(mapping: Mapping, name: str) -> str:
    """Returns the population of spikes whose layer pools into a population, or "" where none does."""
    network, limits = mapping.network, mapping.profile.limits
    source = pooled_from(network, name, limits)
    while source and pooled_from(network, source, limits):
        source = pooled_from(network, source, limits)
    return source if source and network[source].binary else ""


def _count_neurons(tally: Tally, name: str, cuts: Cuts, terms: dict[str, Counts]) -> None:
    every = np.broadcast_to(cuts.sizes, (tally.time_steps, len(cuts.held)))
    active = tally.active[name].over(cuts.grid)
    terms["neuron_access"][:, cuts.held] += every
    terms["neuron_update"][:, cuts.held] += active
    terms["neuron_idle"][:, cuts.held] += every - active
    terms["state_read"][:, cuts.held] += every
    terms["state_write"][:, cuts.held] += every


def _count_products(
    mapping: Mapping, tally: Tally, name: str, held: Counts, sizes: Counts, terms: dict[str, Counts]
) -> Counts:
    """Books activation times activation products, shared over the pieces by their size, exact in the sum."""
    done = np.zeros((tally.time_steps, len(held)), np.int64)
    for product in mapping.network.products_into(name):
        operations = product.operations(tally.unpacked(product.left), tally.unpacked(product.right))
        edges = np.concatenate([[0], sizes.cumsum()])
        shares = operations[:, None] * edges[None] // edges[-1]
        done += np.diff(shares, axis=1)
    terms["product_operation"][:, held] += done
    return done


def describe_traffic(counts: MappedCounts) -> MappingOf[str, int]:
    """Returns totals for reports: packets, hops and the busiest link's packets in its busiest step."""
    busiest = max((int(load.max()) for load in counts.links.values()), default=0)
    return {
        "packets": counts.total("packet"),
        "hops": counts.total("hop_x") + counts.total("hop_y"),
        "chip_hops": counts.total("chip_hop"),
        "busiest_link": busiest,
    }
