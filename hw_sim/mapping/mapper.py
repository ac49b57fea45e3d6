"""Places a network on the cores of a chip, or lists every reason why it does not fit and what would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurokit.errors import InputError, UnsupportedError
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.graph.network import Network
from neurokit.hw_sim.mapping.layers import one_core_each
from neurokit.hw_sim.mapping.mapping import PORT, Mapping, Piece, cuts_of, entire, everyone_sends, mapping_traffic
from neurokit.hw_sim.mapping.packing import packed
from neurokit.hw_sim.mapping.partition import units_of
from neurokit.hw_sim.mapping.tiles import MOST_TILES_ANNEALED, STRATEGIES, anneal, hop_cost, tile_positions
from neurokit.hw_sim.mapping.violations import Violation, fixed_violations


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
        placed, needs, more = one_core_each(network, units, profile)
    else:
        placed, needs, more = packed(network, units, profile)
    violations += more
    inputs = [Piece((p.name,), entire(p.shape), PORT) for p in network.inputs]
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
