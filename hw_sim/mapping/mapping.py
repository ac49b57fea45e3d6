"""A network on the cores of chips: which piece lies where, and who sends to whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.graph.block import Block, row_of, view_of
from neurokit.hw_sim.graph.network import Network, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.mapping.partition import Need, stays_inside
from neurokit.hw_sim.mapping.tiles import Positions, tile_positions
from neurokit.hw_sim.mapping.violations import Violation
from neurokit.hw_sim.traffic.sender import Sender
from neurokit.hw_sim.traffic.traffic import Listener, Traffic, Wires

PORT = -1  # the "core" of input populations: spikes enter at the first tile of the first chip


@dataclass(frozen=True)
class Piece:
    """A block of one unit on one core.

    Attributes:
        populations: Populations of the unit; all have the same neurons.
        block: Which neurons; all pieces of a unit have one view.
        core: Core, counted over all chips, or `PORT`.
    """

    populations: tuple[str, ...]
    block: Block
    core: int

    @property
    def size(self) -> int:
        """The number of neurons."""
        return self.block.size


@dataclass(frozen=True)
class Mapping:
    """A network on chips.

    Attributes:
        network: What was mapped.
        profile: On what.
        strategy: How tiles were chosen.
        pieces: Every piece, inputs first.
        chips: Chips in use.
        positions: (x, y) of every tile of these chips, `[tiles, 2]`.
        violations: Limits that were broken; empty unless breaking them was allowed.
        needs: What each core in use holds, by core.
    """

    network: Network
    profile: HardwareProfile
    strategy: str
    pieces: tuple[Piece, ...]
    chips: int
    positions: Positions = field(repr=False)
    violations: tuple[Violation, ...] = ()
    needs: dict[int, Need] = field(default_factory=dict, repr=False)

    @property
    def fits(self) -> bool:
        """Whether the chip can hold the network."""
        return not self.violations

    @cached_property
    def held(self) -> dict[str, list[int]]:
        """The numbers of the pieces that hold each population."""
        found: dict[str, list[int]] = {}
        for number, piece in enumerate(self.pieces):
            for name in piece.populations:
                found.setdefault(name, []).append(number)
        return found

    @cached_property
    def cores(self) -> list[int]:
        """Cores in use, ascending."""
        return sorted({piece.core for piece in self.pieces} - {PORT})

    @property
    def cores_per_chip(self) -> int:
        """Cores of one chip."""
        return max(1, self.profile.limits.cores)

    def tile_of(self, cores: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the tile of each core, counted over all chips; inputs enter at tile 0."""
        topology = self.profile.topology
        per_chip = topology.tiles
        tile = (cores % self.cores_per_chip) // topology.cores_per_tile
        return np.where(cores < 0, 0, cores // self.cores_per_chip * per_chip + np.minimum(tile, per_chip - 1))

    def load_of(self, core: int) -> float | None:
        """Returns the largest share of a limit that a core uses, or None where the chip states none."""
        limits, need = self.profile.limits, self.needs.get(core)
        if need is None:
            return None
        neurons, bits = limits.neurons_per_core, limits.synapse_bits_per_core
        if core < len(limits.core_neurons):
            neurons, bits = limits.core_neurons[core], limits.core_weight_bits[core]
        pairs = ((need.neurons, neurons), (need.synapse_bits, bits), (need.axons_in, limits.axons_in_per_core))
        return max((used / cap for used, cap in pairs if cap), default=None)

    def row_of(self, name: str) -> int:
        """Returns the places of a row in which a population is cut: that of the first of its unit."""
        return row_of(self.network[self.pieces[self.held[name][0]].populations[0]].shape)

    def tiles_in_use(self) -> int:
        """Returns how many tiles hold something."""
        return len(np.unique(self.tile_of(np.array(self.cores, np.int64))))


def place_by_hand(network: Network, profile: HardwareProfile, placed: Iterable[Piece]) -> Mapping:
    """Returns the mapping that the caller chose, unchecked: to repeat another tool's placement."""
    chosen = tuple(placed)
    used = max((piece.core for piece in chosen), default=-1) + 1
    chips = max(1, -(-used // max(1, profile.limits.cores)))
    return Mapping(network, profile, "by-hand", chosen, chips, tile_positions(profile.topology, chips, "in-order"))


def mapping_traffic(mapping: Mapping, senders: dict[str, Sender]) -> dict[str, Traffic]:
    """Returns the packets that each population sends, by population; traffic numbers the population's own pieces.

    Args:
        mapping: Where everything lies.
        senders: Spikes and cuts of each population that sends.
    """
    return {name: wires.carry(senders[name]) for name, wires in mapping_wires(mapping, senders).items()}


def mapping_wires(mapping: Mapping, senders: dict[str, Sender]) -> dict[str, Wires]:
    """Returns which neurons of each population send to which cores, whatever is sent.

    Args:
        mapping: Where everything lies.
        senders: Cuts of each population that sends.
    """
    network = mapping.network
    listening: dict[str, dict[str, Listener]] = {name: {} for name in senders}
    heard: dict[tuple[str, ...], list[tuple[Listener, Block | None]]] = {}
    for piece in mapping.pieces:
        if piece.populations not in heard:  # once a unit, not once for each of its tens of thousands of pieces
            heard[piece.populations] = _heard_by(network, piece.populations, listening)
        for listener, whole in heard[piece.populations]:
            listener.add(whole or piece.block, piece.core)
    return {name: Wires(sender, network[name].size, list(listening[name].values())) for name, sender in senders.items()}


def _heard_by(
    network: Network, members: tuple[str, ...], listening: dict[str, dict[str, Listener]]
) -> list[tuple[Listener, Block | None]]:
    """Returns what a unit listens to, with the block of targets where that is not the piece's own."""

    def of(projection: Projection) -> Listener:
        return listening[projection.source].setdefault(projection.name, Listener(projection))

    found: list[tuple[Listener, Block | None]] = []
    for name in members:
        into = [p for p in network.into(name) if p.source in listening and not stays_inside(p, members)]
        found += [(of(projection), None) for projection in into]
        for product in network.products_into(name):
            for operand in {product.left, product.right} & listening.keys():
                whole = _operand(network[operand])
                found.append((of(whole), entire(whole.target_shape)))
    return found


def _operand(population: Population) -> Projection:
    """Returns a stand-in by which a core listens to every neuron of an operand of a product."""
    return Projection.identity(f"{population.name} (operand)", population.name, population.name, population.shape)


def entire(shape: tuple[int, ...]) -> Block:
    """Returns the block of a whole population."""
    view = view_of(shape)
    return Block(view, (0, view[0]), (0, view[1]))


def cuts_of(mapping: Mapping, name: str) -> list[int]:
    """Returns the numbers of the pieces that hold a population."""
    return mapping.held.get(name, [])


def everyone_sends(mapping: Mapping) -> dict[str, Sender]:
    """Returns senders of one spike a neuron: what the wiring alone asks of the network on the chip."""
    senders = {}
    for population in mapping.network.populations:
        held = cuts_of(mapping, population.name)
        if held and mapping.network.out_of(population.name):
            blocks = [mapping.pieces[number].block for number in held]
            senders[population.name] = Sender(blocks, mapping.row_of(population.name), 1)
    return senders
