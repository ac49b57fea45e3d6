"""Places a network on a chip that gives each layer a core of its own, with its pooling inside it."""

from __future__ import annotations

from collections.abc import Sequence

from neurokit.hw_sim.chips.limits import Limits
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.graph.block import view_of
from neurokit.hw_sim.graph.network import Network
from neurokit.hw_sim.mapping.mapping import PORT, Piece, entire
from neurokit.hw_sim.mapping.memory import dynapcnn_kernel_words, dynapcnn_neuron_words, stored_bits
from neurokit.hw_sim.mapping.partition import Need, Unit, incoming, need_of
from neurokit.hw_sim.mapping.violations import Violation, pooled_from


def one_core_each(
    network: Network, units: Sequence[Unit], profile: HardwareProfile
) -> tuple[list[Piece], dict[int, Need], list[Violation]]:
    """Gives each layer a core of its own that is large enough (a bipartite matching by augmenting paths)."""
    limits = profile.limits
    inside = {unit.populations[0]: pooled_from(network, unit.populations[0], limits) for unit in units}
    layers = [unit for unit in units if not inside[unit.populations[0]]]
    needs = [_need(network, unit, limits) for unit in layers]
    room = [[core for core in range(limits.cores) if _has_room(need, core, limits)] for need in needs]
    seats = _matching(room)
    left = [layer for layer in range(len(layers)) if layer not in seats]
    for spare, layer in enumerate(left, start=limits.cores):  # cores that the chip has not: a mapping "as if"
        seats[layer] = spare
    violations = [_no_core(layers[layer], needs[layer], bool(room[layer]), limits) for layer in left]
    core_of = {name: seats[layer] for layer, unit in enumerate(layers) for name in unit.populations}
    placed = []
    for unit in units:
        source = inside[unit.populations[0]]  # pooling has no core of its own where the chip pools inside a layer
        core = core_of.get(source, PORT) if source else core_of[unit.populations[0]]
        placed.append(Piece(unit.populations, entire(unit.shape), core))
        core_of |= dict.fromkeys(unit.populations, core)
    return placed, {seats[layer]: need for layer, need in enumerate(needs)}, violations


def _need(network: Network, unit: Unit, limits: Limits) -> Need:
    need = need_of(network, unit, *view_of(unit.shape), limits)
    if limits.memory_rule != "dynapcnn":
        return need
    bits = 0
    for projection in incoming(network, unit):
        if projection.kind in ("conv", "linear"):
            words = dynapcnn_kernel_words(projection, network[projection.source].shape)
            bits += words * stored_bits(projection, limits)
    biases = [network[name].bias for name in unit.populations]
    biased = any(bias is not None and bool(bias.any()) for bias in biases)
    return Need(dynapcnn_neuron_words(unit.shape), bits, need.axons_in, need.state_bits, unit.shape[0] * biased)


def _has_room(need: Need, core: int, limits: Limits) -> bool:
    return (
        (not limits.core_neurons or need.neurons <= limits.core_neurons[core])
        and (not limits.core_weight_bits or need.synapse_bits <= limits.core_weight_bits[core])
        and (limits.bias_words is None or need.biases <= limits.bias_words)
    )


def _matching(room: Sequence[Sequence[int]]) -> dict[int, int]:
    """Returns a core for as many layers as can have one each, by layer."""
    owner: dict[int, int] = {}

    # Kuhn's augmenting paths: a layer takes an occupied core if its holder can move to another.
    def seat(layer: int, tried: set[int]) -> bool:
        for core in room[layer]:
            if core not in tried:
                tried.add(core)
                if core not in owner or seat(owner[core], tried):
                    owner[core] = layer
                    return True
        return False

    for layer in range(len(room)):
        seat(layer, set())
    return {layer: core for core, layer in owner.items()}


def _no_core(unit: Unit, need: Need, room: bool, limits: Limits) -> Violation:
    where = unit.populations[0]
    if room:
        fix = f"at most {limits.cores} layers, or smaller ones: each needs a core that is large enough"
        return Violation("cores", where, "one more core of its size", str(limits.cores), fix)
    if limits.bias_words is not None and need.biases > limits.bias_words:
        fix = f"at most {limits.bias_words} channels with a bias"
        return Violation("bias_words", where, str(need.biases), str(limits.bias_words), fix)
    most_neurons, most_bits = max(limits.core_neurons, default=0), max(limits.core_weight_bits, default=0)
    # Both memories shrink with the output channels: the tighter of the two says how many can stay.
    share = min(1.0, most_neurons / need.neurons, most_bits / max(need.synapse_bits, 1))
    return Violation(
        "core_neurons" if need.neurons > most_neurons else "core_weight_bits",
        where,
        f"{need.neurons} neurons and {need.synapse_bits // 8192} KiB of weights on one core",
        f"at most {most_neurons} neurons, {most_bits // 8192} KiB (not both on every core)",
        f"about {max(1, int(unit.shape[0] * share))} of {unit.shape[0]} channels, or split the layer in two",
    )
