"""Places a network on the cores of a chip, or lists every reason why it does not fit and what would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError, UnsupportedError
from neurokit.hw_sim.block import Block, row_of, view_of
from neurokit.hw_sim.chip import HardwareProfile, Limits
from neurokit.hw_sim.network import Network, Population
from neurokit.hw_sim.partition import (
    Need,
    Unit,
    Violation,
    best_cut,
    blocks_of,
    fixed_violations,
    need_of,
    units_of,
)
from neurokit.hw_sim.placement import MOST_TILES_ANNEALED, STRATEGIES, Positions, anneal, hop_cost, tile_positions
from neurokit.hw_sim.projection import Projection
from neurokit.hw_sim.sender import Sender
from neurokit.hw_sim.traffic import Listener, Traffic, traffic_of

PORT = -1  # the "core" of input populations: spikes enter at the first tile of the first chip

# Cutting finer lowers a core's outgoing axons but raises its predecessors'; a few rounds settle or show it cannot be.
_ROUNDS = 4

# A network that does not fit is still mapped, to be priced "as if"; where its broken limits would cut it into more
# pieces than this, only the neurons of a core are kept to.
_MOST_SUPPOSED = 20_000


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
        per_chip = topology.width * topology.height
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


def map_network(
    network: Network, profile: HardwareProfile, strategy: str = "annealed", enforce: bool = True
) -> Mapping:
    """Places every population of a network.

    Pieces are as large as a core allows and are packed in the order of the network; the strategy chooses which tile
    is filled next ("in-order": by number; "hilbert": along a space-filling curve; "annealed": the
    better of the two, then simulated annealing on packets times hops, assuming every neuron spikes equally often).

    Args:
        network: What to place.
        profile: The chip.
        strategy: One of "in-order", "hilbert", "annealed".
        enforce: Whether breaking a limit is an error; else the mapping carries the violations and is a supposition.

    Raises:
        InputError: If the strategy is unknown.
        UnsupportedError: If the network does not fit; its reasons are every `Violation`, each with the nearest
            change that fits.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown mapping strategy {strategy!r}", expected="one of " + ", ".join(STRATEGIES))
    units = units_of(network)
    violations = fixed_violations(network, profile)
    if profile.limits.whole_layer_per_core:
        placed, needs, more = _one_core_each(network, units, profile)
    else:
        placed, needs, more = _packed(network, units, profile)
    violations += more
    inputs = [Piece((p.name,), _entire(p.shape), PORT) for p in network.inputs]
    used = max((piece.core for piece in placed), default=-1) + 1
    chips = max(1, -(-used // max(1, profile.limits.cores)))
    if chips > profile.topology.chips_max:
        violations.append(_too_many_chips(network, profile, used, chips))
    if violations and enforce:
        raise UnsupportedError(
            f"{network.name!r} does not fit on {profile.title}",
            violations,
            expected="a network within the chip's limits",
            fix="change what each line names, or choose another chip",
        )
    positions = tile_positions(profile.topology, chips, strategy)
    mapping = Mapping(network, profile, strategy, (*inputs, *placed), chips, positions, tuple(violations), needs)
    return _annealed(mapping) if strategy == "annealed" else mapping


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
    network = mapping.network
    listening: dict[str, dict[str, Listener]] = {name: {} for name in senders}

    def listen(projection: Projection, block: Block, core: int) -> None:
        held = listening[projection.source].setdefault(projection.name, Listener(projection))
        held.blocks.append(block)
        held.cores.append(core)

    for piece in mapping.pieces:
        for name in piece.populations:
            for projection in network.into(name):
                if projection.source in senders and projection.source not in piece.populations:
                    listen(projection, piece.block, piece.core)
            for product in network.products_into(name):
                for operand in {product.left, product.right} & set(senders):
                    whole = _operand(network[operand])
                    listen(whole, _entire(whole.target_shape), piece.core)
    return {
        name: traffic_of(sender, network[name].size, list(listening[name].values())) for name, sender in senders.items()
    }


def _operand(population: Population) -> Projection:
    """Returns a stand-in by which a core listens to every neuron of an operand of a product."""
    return Projection.identity(f"{population.name} (operand)", population.name, population.name, population.shape)


def _entire(shape: tuple[int, ...]) -> Block:
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


def _packed(
    network: Network, units: Sequence[Unit], profile: HardwareProfile
) -> tuple[list[Piece], dict[int, Need], list[Violation]]:
    """Cuts and packs; cuts finer where a core would send to too many others."""
    limits = profile.limits
    cuts: dict[str, tuple[int, int]] = {}
    supposed: set[str] = set()  # units of which not even one neuron fits: cut by neurons alone
    violations: list[Violation] = []
    for unit in units:
        cut = best_cut(unit.shape, lambda k, m, unit=unit: need_of(network, unit, k, m, limits).fits(limits))
        if cut is None:
            violations += _single_neuron(network, unit, profile)
            supposed.add(unit.populations[0])
            cut = _by_neurons(unit, limits)
        cuts[unit.populations[0]] = cut
    many = sum(len(blocks_of(unit.shape, cuts[unit.populations[0]])) for unit in units) > _MOST_SUPPOSED
    if many and (violations or fixed_violations(network, profile)):
        cuts = {unit.populations[0]: _by_neurons(unit, limits) for unit in units}
        supposed = set(cuts)
    first = _pack(network, units, cuts, profile)
    placed, needs = first
    sent: list[tuple[Piece, int]] = []
    for _ in range(_ROUNDS):
        sent = _sent(network, placed, profile)
        crowded = _crowded(sent, profile)
        if not crowded:
            break
        if crowded.keys() & supposed:
            placed, needs = first  # finer cuts cannot save what does not fit anyway
            break
        for unit in units:
            name = unit.populations[0]
            if name in crowded:
                cap = max(1, int(cuts[name][0] * cuts[name][1] * crowded[name]))
                cuts[name] = best_cut(unit.shape, _within(network, unit, limits, cap)) or (1, 1)
        placed, needs = _pack(network, units, cuts, profile)
    else:
        sent = _sent(network, placed, profile)
    outgoing = _outgoing_violations(sent, profile)
    if outgoing:
        placed, needs = first
    return placed, needs, violations + outgoing


def _by_neurons(unit: Unit, limits: Limits) -> tuple[int, int]:
    """Returns a cut that keeps to the neurons of a core and to no other limit."""
    cap = limits.neurons_per_core or unit.size
    return best_cut(unit.shape, lambda k, m: k * m <= cap) or (1, 1)


def _within(network: Network, unit: Unit, limits: Limits, cap: int) -> Callable[[int, int], bool]:
    return lambda k, m: k * m <= cap and need_of(network, unit, k, m, limits).fits(limits)


def _pack(
    network: Network, units: Sequence[Unit], cuts: dict[str, tuple[int, int]], profile: HardwareProfile
) -> tuple[list[Piece], dict[int, Need]]:
    limits = profile.limits
    placed: list[Piece] = []
    needs: dict[int, Need] = {}
    core = 0
    for unit in units:
        by_size: dict[tuple[int, int], Need] = {}
        for block in blocks_of(unit.shape, cuts[unit.populations[0]]):
            size = (block.channels[1] - block.channels[0], block.places[1] - block.places[0])
            if size not in by_size:
                by_size[size] = need_of(network, unit, *size, limits)
            need = by_size[size]
            if core in needs and not (needs[core] + need).fits(limits):
                core += 1
            needs[core] = needs[core] + need if core in needs else need
            placed.append(Piece(unit.populations, block, core))
    return placed, needs


def _sent(network: Network, placed: Sequence[Piece], profile: HardwareProfile) -> list[tuple[Piece, int]]:
    """Returns for each sending piece how many (neuron, core) pairs it sends to; nothing where no limit asks for it."""
    if profile.limits.axons_out_per_core is None and profile.limits.fan_out_cores is None:
        return []
    inputs = tuple(Piece((p.name,), _entire(p.shape), PORT) for p in network.inputs)
    mapping = Mapping(network, profile, "", (*inputs, *placed), 1, np.zeros((1, 2), np.int64))
    sent = []
    for name, found in mapping_traffic(mapping, everyone_sends(mapping)).items():
        held = [mapping.pieces[number] for number in cuts_of(mapping, name)]
        totals = np.zeros(len(held), np.int64)
        np.add.at(totals, found.sources, found.packets[0] * found.fan_out)
        sent += [(piece, int(total)) for piece, total in zip(held, totals, strict=True) if piece.core != PORT]
    return sent


def _crowded(sent: Sequence[tuple[Piece, int]], profile: HardwareProfile) -> dict[str, float]:
    """Returns by how much to shrink the pieces of units whose cores send to too many others."""
    cap = profile.limits.axons_out_per_core
    if cap is None:
        return {}
    shrink: dict[str, float] = {}
    for piece, total in sent:
        if total > cap and piece.size > 1:
            factor = min(0.9, cap / total)
            shrink[piece.populations[0]] = min(factor, shrink.get(piece.populations[0], 1.0))
    return shrink


def _outgoing_violations(sent: Sequence[tuple[Piece, int]], profile: HardwareProfile) -> list[Violation]:
    limits = profile.limits
    if limits.axons_out_per_core is None and limits.fan_out_cores is None:
        return []
    worst: dict[tuple[str, str], tuple[int, int, str]] = {}
    for piece, total in sent:
        cap = limits.axons_out_per_core
        if cap is not None and total > cap:
            key = ("axons_out_per_core", piece.populations[0])
            worst[key] = max(worst.get(key, (0, 0, "")), (total, cap, "fewer channels in the layers that it feeds"))
        cap, each = limits.fan_out_cores, -(-total // piece.size)
        if cap is not None and each > cap:
            key = ("fan_out_cores", piece.populations[0])
            fix = f"give each neuron {each} copies, or make the layers it feeds fit on {cap} core"
            worst[key] = max(worst.get(key, (0, 0, "")), (each, cap, fix))
    return [Violation(limit, where, str(need), str(has), fix) for (limit, where), (need, has, fix) in worst.items()]


def _single_neuron(network: Network, unit: Unit, profile: HardwareProfile) -> list[Violation]:
    """Says which limits not even one neuron of a unit keeps."""
    found = []
    for name, need, cap in need_of(network, unit, 1, 1, profile.limits).broken(profile.limits):
        fix = f"fewer input channels: {cap / need:.0%} of them"
        found.append(Violation(name, unit.populations[0], f"{need} for one neuron", str(cap), fix))
    return found


def _one_core_each(
    network: Network, units: Sequence[Unit], profile: HardwareProfile
) -> tuple[list[Piece], dict[int, Need], list[Violation]]:
    """Gives each layer a core of its own that is large enough (a bipartite matching by augmenting paths)."""
    limits = profile.limits
    needs = [need_of(network, unit, *view_of(unit.shape), limits) for unit in units]
    room = [
        [
            (not limits.core_neurons or need.neurons <= limits.core_neurons[core])
            and (not limits.core_weight_bits or need.synapse_bits <= limits.core_weight_bits[core])
            for core in range(limits.cores)
        ]
        for need in needs
    ]
    owner: dict[int, int] = {}

    def seat(layer: int, tried: set[int]) -> bool:
        for core in range(limits.cores):
            if room[layer][core] and core not in tried:
                tried.add(core)
                if core not in owner or seat(owner[core], tried):
                    owner[core] = layer
                    return True
        return False

    left = [layer for layer in range(len(units)) if not seat(layer, set())]
    seats = {layer: core for core, layer in owner.items()}
    spare = limits.cores  # cores that the chip does not have, for a mapping that is only supposed
    for layer in left:
        seats[layer], spare = spare, spare + 1
    violations = [_no_core(units[layer], needs[layer], any(room[layer]), profile) for layer in left]
    placed = [Piece(unit.populations, _entire(unit.shape), seats[layer]) for layer, unit in enumerate(units)]
    return placed, {seats[layer]: need for layer, need in enumerate(needs)}, violations


def _no_core(unit: Unit, need: Need, room: bool, profile: HardwareProfile) -> Violation:
    limits = profile.limits
    where = unit.populations[0]
    if room:
        return Violation("cores", where, "one more core", str(limits.cores), f"at most {limits.cores} layers")
    most_neurons, most_bits = max(limits.core_neurons, default=0), max(limits.core_weight_bits, default=0)
    share = min(1.0, most_neurons / need.neurons, most_bits / max(need.synapse_bits, 1))
    return Violation(
        "core_neurons" if need.neurons > most_neurons else "core_weight_bits",
        where,
        f"{need.neurons} neurons and {need.synapse_bits // 8192} KiB of weights on one core",
        f"at most {most_neurons} neurons, {most_bits // 8192} KiB (not both on every core)",
        f"about {max(1, int(unit.shape[0] * share))} of {unit.shape[0]} channels, or split the layer in two",
    )


def _too_many_chips(network: Network, profile: HardwareProfile, used: int, chips: int) -> Violation:
    most = profile.topology.chips_max
    share = most * profile.limits.cores / used
    fix = f"{chips} chips" if most > 1 else f"a network with about {share:.0%} of the neurons and weights"
    return Violation("cores", "", f"{used} cores ({chips} chips)", f"{profile.limits.cores} on {most} chip(s)", fix)


def _annealed(mapping: Mapping) -> Mapping:
    tiles = len(mapping.positions)
    if tiles > MOST_TILES_ANNEALED:  # over many chips the curve's turns cost more than rows of layers do
        return replace(mapping, positions=tile_positions(mapping.profile.topology, mapping.chips, "in-order"))
    flow = np.zeros((tiles, tiles))
    for name, found in mapping_traffic(mapping, everyone_sends(mapping)).items():
        held = np.array([mapping.pieces[number].core for number in cuts_of(mapping, name)], np.int64)
        entry, core = found.pairs()
        source = mapping.tile_of(held[found.sources[entry]])
        np.add.at(flow, (source, mapping.tile_of(core)), found.packets[0][entry].astype(float))
    starts = [tile_positions(mapping.profile.topology, mapping.chips, name) for name in ("hilbert", "in-order")]
    start = min(starts, key=lambda positions: hop_cost(positions, flow))
    return replace(mapping, positions=anneal(start, flow))
