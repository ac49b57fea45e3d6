"""Cuts a network into pieces and packs them onto cores, within every limit that the chip states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from neurokit.hw_sim.chips.limits import Limits
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.graph.network import Network
from neurokit.hw_sim.mapping.mapping import PORT, Mapping, Piece, cuts_of, entire, everyone_sends, mapping_traffic
from neurokit.hw_sim.mapping.partition import Need, Unit, best_cut, blocks_of, need_of
from neurokit.hw_sim.mapping.violations import Violation, fixed_violations

# Cutting finer lowers a core's outgoing axons but raises its predecessors'; a few rounds settle or show it cannot be.
_ROUNDS = 4

# A network that does not fit is still mapped, to be priced "as if"; where its broken limits would cut it into more
# pieces than this, only the neurons of a core are kept to.
_MOST_SUPPOSED = 20_000


def packed(
    network: Network, units: Sequence[Unit], profile: HardwareProfile
) -> tuple[list[Piece], dict[int, Need], list[Violation]]:
    """Cuts and packs; cuts finer where a core would send to too many others."""
    limits = profile.limits
    cuts: dict[str, tuple[int, int]] = {}
    supposed: set[str] = set()  # units of which not even one neuron fits: cut by neurons alone
    violations: list[Violation] = []
    for unit in units:
        cut = best_cut(unit.shape, _within(network, unit, limits, limits.neurons_per_core or unit.size))
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
        # Even cuts have two sizes an axis at most: a need is worked out four times a unit, not once a block.
        by_size: dict[tuple[int, int], Need] = {}
        for block in blocks_of(unit.shape, cuts[unit.populations[0]]):
            size = (block.channels[1] - block.channels[0], block.places[1] - block.places[0])
            if size not in by_size:
                by_size[size] = need_of(network, unit, *size, limits)
            need = by_size[size]
            # Next fit, not best fit: layers that follow each other share cores, and their spikes travel little.
            alone = limits.memory_rule == "akida"  # a node computes a part of one layer
            both = needs[core] + need if core in needs and not alone else None
            if core in needs and (both is None or not both.fits(limits)):
                core, both = core + 1, None
            needs[core] = need if both is None else both
            placed.append(Piece(unit.populations, block, core))
    return placed, needs


def _sent(network: Network, placed: Sequence[Piece], profile: HardwareProfile) -> list[tuple[Piece, int]]:
    """Returns for each sending piece how many (neuron, core) pairs it sends to; nothing where no limit asks for it."""
    if profile.limits.axons_out_per_core is None and profile.limits.fan_out_cores is None:
        return []
    inputs = tuple(Piece((p.name,), entire(p.shape), PORT) for p in network.inputs)
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
            # At least a tenth smaller, or cuts that round up to the same blocks would use the rounds up.
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
        # Total over the piece's neurons: the mean fan-out, rounded up.
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
