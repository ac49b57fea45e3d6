"""Cuts a network into pieces that a core can hold, and says everything that stands in the way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from neurokit.hw_sim.chips.limits import Limits
from neurokit.hw_sim.graph.block import Block, row_of, view_of
from neurokit.hw_sim.graph.network import Network, NeuronModel
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.mapping.akida import akida_input, akida_weight_bits
from neurokit.hw_sim.mapping.memory import loihi_need, stored_bits


@dataclass(frozen=True)
class Unit:
    """Populations that lie on the same cores: neurons together with the sums that are formed for them.

    Attributes:
        populations: Names, the one with neurons (if any) first.
        size: Neurons (or values) of each of them.
        shape: Shape of each of them.
    """

    populations: tuple[str, ...]
    size: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Need:
    """What a piece of a unit takes from a core.

    Attributes:
        neurons: Neurons (or values) with a state; words of neuron memory where a layer has a core of its own.
        synapse_bits: Weight memory.
        axons_in: Source neurons that send to it (an upper bound where an index map hides the exact number).
        state_bits: Membranes.
        biases: Words of bias memory.
        input_bits: Memory for what it reads, where a chip has one of its own.
        input_rows: Rows that it reads, borders left out, where a chip limits them.
        channels: Channels, where a chip limits them.
    """

    neurons: int
    synapse_bits: int
    axons_in: int
    state_bits: int = 0
    biases: int = 0
    input_bits: int = 0
    input_rows: int = 0
    channels: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(
            self.neurons + other.neurons,
            self.synapse_bits + other.synapse_bits,
            self.axons_in + other.axons_in,
            self.state_bits + other.state_bits,
            self.biases + other.biases,
            self.input_bits + other.input_bits,
            self.input_rows + other.input_rows,
            self.channels + other.channels,
        )

    def fits(self, limits: Limits) -> bool:
        """Whether a core holds this."""
        return all(cap is None or need <= cap for _, need, cap in self._checks(limits))

    def broken(self, limits: Limits) -> list[tuple[str, int, int]]:
        """Returns (limit, need, capacity) of everything that does not fit."""
        return [(name, need, cap) for name, need, cap in self._checks(limits) if cap is not None and need > cap]

    def _checks(self, limits: Limits) -> tuple[tuple[str, int, int | None], ...]:
        bits = self.synapse_bits + (self.state_bits if limits.memory_rule == "shared" else 0)
        return (
            ("neurons_per_core", self.neurons, limits.neurons_per_core),
            ("synapse_bits_per_core", bits, limits.synapse_bits_per_core),
            ("axons_in_per_core", self.axons_in, limits.axons_in_per_core),
            ("input_bits_per_core", self.input_bits, limits.input_bits_per_core),
            ("input_rows_per_core", self.input_rows, limits.input_rows_per_core),
            ("channels_per_core", self.channels, limits.channels_per_core),
        )


def units_of(network: Network) -> list[Unit]:
    """Returns the network's populations, without its inputs, grouped by what shares cores.

    A sum, relay or product that goes one to one into a population of the same shape lies on that population's cores:
    a chip adds it where it is used. The first such population with neurons is chosen, else the first of any role.
    """
    home: dict[str, str] = {}
    # Backwards, so that the home of what a sum goes into is known before the sum's own.
    for population in reversed(network.populations):
        if population.role in ("current", "relay", "product"):
            targets = [p.target for p in network.out_of(population.name) if _plain_identity(p)]
            neurons = [name for name in targets if network[name].model is not None]
            chosen = (neurons or targets or [population.name])[0]
            home[population.name] = home.get(chosen, chosen)
    members: dict[str, list[str]] = {}
    for population in network.populations:
        if population.role != "input":
            members.setdefault(home.get(population.name, population.name), []).append(population.name)
    units = []
    for owner, names in members.items():
        ordered = (owner, *(name for name in names if name != owner))
        units.append(Unit(ordered, network[owner].size, network[owner].shape))
    return sorted(units, key=lambda unit: _place(network, unit.populations[0]))


def _place(network: Network, name: str) -> int:
    return next(i for i, population in enumerate(network.populations) if population.name == name)


def _plain_identity(projection: Projection) -> bool:
    moved = projection.source_index is not None or projection.target_index is not None
    return projection.kind == "identity" and not moved and not projection.delay


def stays_inside(projection: Projection, members: Collection[str]) -> bool:
    """Whether a projection joins populations of one unit in one step: a sum that is formed where it is used.

    One with a delay comes back from outside: its spikes have been sent, and it has weights of its own.
    """
    return projection.source in members and projection.target in members and not projection.delay


def incoming(network: Network, unit: Unit) -> list[Projection]:
    """Returns the projections into a unit, without those that stay inside it."""
    return [p for name in unit.populations for p in network.into(name) if not stays_inside(p, unit.populations)]


def need_of(network: Network, unit: Unit, channels: int, places: int, limits: Limits) -> Need:
    """Returns what a block of a unit takes, for blocks cut at whole rows or within one."""
    if limits.memory_rule == "akida":
        return _akida_need(network, unit, channels, places, limits)
    bits, sources = 0, dict[str, int]()
    for projection in incoming(network, unit):
        plain = projection.source_index is None and projection.target_index is None
        plain = plain and view_of(projection.target_shape) == view_of(unit.shape)
        width = stored_bits(projection, limits)
        if limits.memory_rule == "loihi" and plain:
            taken, axons = loihi_need(projection, channels, places, width)
        else:
            weights, axons = (_plain_need if plain else _indexed_need)(projection, channels, places, limits)
            taken = weights * width
        axons *= width if limits.axons_per_weight_bit and projection.kind in ("conv", "linear") else 1
        # A copy of weights that are stored already (one layer called twice) takes no memory where a chip shares them.
        bits += 0 if projection.shares_weights_with and limits.shares_weights else taken
        # Two projections from one population share its axons: the wider one counts, not their sum.
        sources[projection.source] = max(sources.get(projection.source, 0), axons)
    return Need(channels * places, bits, sum(sources.values()), channels * places * _state_bits(network, unit))


def _akida_need(network: Network, unit: Unit, channels: int, places: int, limits: Limits) -> Need:
    bits, rows, held, filters = 0, 0, 0, 0
    for projection in incoming(network, unit):
        if projection.kind == "linear":
            continue  # a node of its own, whose weights may lie outside
        if projection.kind == "conv" and len(projection.kernel) == 2:
            bits += akida_weight_bits(projection, channels, stored_bits(projection, limits))
            read, memory = akida_input(projection, places, 1 if network[projection.source].binary else 4)
            rows, held, filters = max(rows, read), held + memory, channels
    return Need(channels * places, bits, 0, 0, 0, held, rows, filters)


def _state_bits(network: Network, unit: Unit) -> int:
    """Returns the width of what each neuron of a unit keeps: its membrane, or the sum that is formed for it."""
    model = network[unit.populations[0]].model
    return model.state_bits if model is not None else NeuronModel("if").state_bits


def _plain_need(projection: Projection, channels: int, places: int, limits: Limits) -> tuple[int, int]:
    """Returns (stored weights, source neurons) of a block where the rule's shape is the population's."""
    source, target = projection.source_shape, projection.target_shape
    own = channels * places * _widest_fan_in(projection)
    if projection.kind == "identity":
        return (1 if limits.shares_weights else own), channels * places
    if projection.kind == "linear":
        features = channels if len(target) == 1 else min(places, target[-1])
        rows = 1 if len(target) == 1 else channels * -(-places // target[-1])
        return (features * source[-1] if limits.shares_weights else own), min(projection.source_size, rows * source[-1])
    inputs, outputs = source[0] // projection.groups, target[0] // projection.groups
    shared = channels * inputs * math.prod(projection.kernel) if projection.kind == "conv" else 1
    # The groups that the block's channels touch, each with all of its inputs, at every place that a window covers.
    reach = -(-channels // outputs) * inputs * _window_places(projection, places)
    return (shared if limits.shares_weights else own), min(projection.source_size, reach)


def _indexed_need(projection: Projection, channels: int, places: int, limits: Limits) -> tuple[int, int]:
    """Returns upper bounds of (stored weights, source neurons) where an index map lies between."""
    own = channels * places * _widest_fan_in(projection)
    stored = projection.stored_weights or own
    return (min(own, stored) if limits.shares_weights else own), min(projection.source_size, own)


def _widest_fan_in(projection: Projection) -> int:
    if projection.kind == "identity":
        return 1
    if projection.kind == "linear":
        return projection.source_shape[-1]
    return (projection.source_shape[0] // projection.groups) * math.prod(projection.kernel)


def _window_places(projection: Projection, count: int) -> int:
    """Returns how many places of a channel are seen by `count` adjacent targets of one channel."""
    total, left = 1, count
    for axis in range(len(projection.kernel) - 1, -1, -1):
        size_out, size_in = projection.target_shape[1 + axis], projection.source_shape[1 + axis]
        span = min(left, size_out)
        reach = (span - 1) * projection.stride[axis] + (projection.kernel[axis] - 1) * projection.dilation[axis] + 1
        total *= min(size_in, reach)
        left = -(-left // size_out)  # past the first axis, what is left counts rows that are whole
    return total


def best_cut(shape: Sequence[int], fits: Callable[[int, int], bool]) -> tuple[int, int] | None:
    """Returns (channels, places) of the blocks into which a population is cut, or None if one neuron does not fit.

    The fewest blocks win; of those the ones with the most channels, because a spike travels to every block that
    looks at its place. A need that grows with the block is assumed.
    """
    channels, places = view_of(shape)
    row = row_of(shape)
    best: tuple[int, int, int] | None = None
    for size in _place_sizes(places, row):
        ranges = len(_place_edges(places, row, size))
        if best is not None and ranges > best[0]:
            continue  # more blocks even if all channels fit
        # By bisection: a need grows with the channels, so the largest that fits is found in a few steps.
        most = _largest(channels, partial(_flipped, fits, size))
        if most:
            count = -(-channels // most) * ranges
            if best is None or (count, -most) < (best[0], -best[1]):
                best = (count, most, size)
    return None if best is None else (best[1], best[2])


def _flipped(fits: Callable[[int, int], bool], places: int, channels: int) -> bool:
    return fits(channels, places)


def _place_sizes(places: int, row: int) -> list[int]:
    """Returns sizes of place ranges to try: even divisions into whole rows, then of one row."""
    rows = places // row
    by_rows = {-(-rows // parts) for parts in range(1, rows + 1)}
    by_columns = {-(-row // parts) for parts in range(1, row + 1)}
    return sorted({k * row for k in by_rows} | by_columns, reverse=True)


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Returns the largest number from 1 to `most` that fits, or 0."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _place_edges(places: int, row: int, size: int) -> list[tuple[int, int]]:
    """Returns even ranges of at most `size` places, of whole rows or within one row."""
    if size >= row:
        return [(a * row, b * row) for a, b in _even(places // row, size // row)]
    return [(base + a, base + b) for base in range(0, places, row) for a, b in _even(row, size)]


def _even(total: int, most: int) -> list[tuple[int, int]]:
    parts = -(-total // most)
    edges = [total * k // parts for k in range(parts + 1)]
    return list(itertools.pairwise(edges))


@lru_cache(maxsize=256)  # the rounds of packing cut most units as before
def blocks_of(shape: tuple[int, ...], cut: tuple[int, int]) -> tuple[Block, ...]:
    """Returns the blocks of a population, channels last to change, each of at most (channels, places) `cut`."""
    channels, places = view_of(shape)
    row = row_of(shape)
    spots = _place_edges(places, row, cut[1])
    return tuple(Block((channels, places), part, spot) for part in _even(channels, cut[0]) for spot in spots)
