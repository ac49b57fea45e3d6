"""Mapping: packets, hops and links against an explicit edge list; limits; strategies."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.errors import InputError, UnsupportedError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.chips.limits import Limits, Topology
from neurokit.hw_sim.graph.block import Block
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.mapping.mapper import map_network
from neurokit.hw_sim.mapping.mapping import PORT
from neurokit.hw_sim.mapping.tiles import anneal, hilbert, hop_cost
from neurokit.hw_sim.pricing.mapped_counts import MappedCounts, count_on
from neurokit.hw_sim.pricing.tally import Tally

IF = NeuronModel("if")


def conv_net(channels: int = 4, size: int = 8, groups: int = 1, stride: int = 1, padding: int = 1) -> Network:
    first = Projection.conv("conv1", "in", "a", (2, size, size), channels, (3, 3), 1, 1, weight_bits=8)
    second = Projection.conv(
        "conv2", "a", "b", first.target_shape, 2 * channels, (3, 3), stride, padding, 1, groups, weight_bits=8
    )
    pooled = Projection.pool("pool", "b", "p", second.target_shape, (2, 2))
    flat = int(np.prod(pooled.target_shape))
    last = Projection.linear("fc", "p", "out", (flat,), 10, weight_bits=8)
    shortcut = Projection.identity("skip", "a", "a2", first.target_shape)
    populations = (
        Population("in", (2, size, size), "input"),
        Population("a", first.target_shape, model=IF),
        Population("a2", first.target_shape, model=IF),
        Population("b", second.target_shape, model=IF),
        Population("p", pooled.target_shape, model=IF),
        Population("out", (10,), model=IF),
    )
    return Network("conv_net", populations, (first, second, pooled, last, shortcut), outputs=("out",))


def workload(network: Network, steps: int = 3, rate: float = 0.2, seed: int = 0) -> Workload:
    rng = np.random.default_rng(seed)
    rasters = {p.name: SpikeRaster.pack(rng.random((steps, p.size)) < rate) for p in network.populations}
    return Workload(network, rasters)


def small_chip(neurons: int, axons: int | None = None, shares: bool = True):
    """Loihi's mesh with cores so small that even a tiny network is cut into many."""
    limits = Limits(cores=128, source="test", neurons_per_core=neurons, axons_in_per_core=axons, shares_weights=shares)
    return dataclasses.replace(load_chip("loihi1"), limits=limits)


def brute_force(counts: MappedCounts, work: Workload) -> dict[str, np.ndarray]:
    """Walks every edge of every spike: the slow and plain count."""
    mapping, network = counts.mapping, work.network
    core_of: dict[str, np.ndarray] = {}
    for piece in mapping.pieces:
        for name in piece.populations:
            core_of.setdefault(name, np.full(network[name].size, -9))[piece.block.mask()] = piece.core
    targets: dict[str, list[set[int]]] = {p.name: [set() for _ in range(p.size)] for p in network.populations}
    events = np.zeros((work.time_steps, len(mapping.cores)), np.int64)
    place = {core: i for i, core in enumerate(mapping.cores)}
    spikes = {name: raster.unpack() for name, raster in work.rasters.items()}
    for projection in network.projections:
        for source, target, _ in projection.edges():
            core = int(core_of[projection.target][target])
            targets[projection.source][source].add(core)
            events[:, place[core]] += spikes[projection.source][:, source]
    rows, columns = counts.links["east"].shape[1:]
    found = {
        "events": events,
        "packets": np.zeros(work.time_steps, np.int64),
        "packets_in": np.zeros((work.time_steps, len(mapping.cores)), np.int64),
        "hops": np.zeros(work.time_steps, np.int64),
        **{way: np.zeros((work.time_steps, rows, columns), np.int64) for way in counts.links},
    }
    for name, cores in targets.items():
        for neuron, reached in enumerate(cores):
            fired = spikes[name][:, neuron].astype(np.int64)
            x0, y0 = mapping.positions[mapping.tile_of(core_of[name][neuron : neuron + 1])][0]
            for core in reached:
                x1, y1 = mapping.positions[mapping.tile_of(np.array([core]))][0]
                found["packets"] += fired
                found["packets_in"][:, place[core]] += fired
                found["hops"] += fired * (abs(x1 - x0) + abs(y1 - y0))
                for x in range(x0, x1):
                    found["east"][:, y0, x] += fired
                for x in range(x0, x1, -1):
                    found["west"][:, y0, x] += fired
                for y in range(y0, y1):
                    found["north"][:, y, x1] += fired
                for y in range(y0, y1, -1):
                    found["south"][:, y, x1] += fired
    return found


@settings(max_examples=25, deadline=None)
@given(
    channels=st.sampled_from([2, 4]),
    size=st.integers(5, 9),
    depthwise=st.booleans(),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    neurons=st.integers(3, 90),
    strategy=st.sampled_from(["in-order", "hilbert"]),
    seed=st.integers(0, 99),
)
def test_counts_on_cores_equal_an_edge_list(channels, size, depthwise, stride, padding, neurons, strategy, seed):
    check_against_an_edge_list(
        conv_net(channels, size, channels if depthwise else 1, stride, padding), small_chip(neurons), strategy, seed
    )


def strange_net(size: int, dilation: int) -> Network:
    """A stride longer than its kernel beside another convolution, a dilation, tokens, three readers of one layer."""
    a = Population("a", (4, size, size), model=IF)
    skip = Projection.conv("skip", "a", "b", a.shape, 4, (1, 1), 2)
    alone = Projection.conv("alone", "a", "g", a.shape, 4, (1, 1), 2)
    wide = Projection.conv("wide", "a", "b", a.shape, 4, (3, 3), 2, 1)
    holes = Projection.conv("holes", "a", "c", a.shape, 2, (2, 2), 1, dilation, dilation)
    tokens = Projection.conv("tokens", "a", "d", (4, size * size), 3, (1,))
    mixed = Projection.linear("mixed", "d", "e", (3, size * size), 5)
    copy = Projection.identity("copy", "a", "f", a.shape)
    populations = (
        Population("in", (2, size, size), "input"),
        a,
        *(Population(p.target, p.target_shape, model=IF) for p in (wide, holes, tokens, mixed, copy, alone)),
    )
    first = Projection.conv("first", "in", "a", (2, size, size), 4, (3, 3), 1, 1)
    return Network("strange", populations, (first, skip, wide, holes, tokens, mixed, copy, alone))


@settings(max_examples=25, deadline=None)
@given(size=st.integers(4, 7), dilation=st.integers(1, 2), neurons=st.integers(3, 120), seed=st.integers(0, 99))
def test_strange_rules_are_counted_on_cores_as_an_edge_list_says(size, dilation, neurons, seed):
    check_against_an_edge_list(strange_net(size, dilation), small_chip(neurons), "hilbert", seed)


def check_against_an_edge_list(network: Network, chip, strategy: str, seed: int) -> None:
    work = workload(network, seed=seed)
    counts = count_on(map_network(network, chip, strategy, enforce=False), Tally(work))
    expected = brute_force(counts, work)
    kinds = ("synaptic_event_dense", "synaptic_event_conv", "synaptic_event_sparse")
    np.testing.assert_array_equal(sum(counts.by_core(kind) for kind in kinds), expected["events"])
    np.testing.assert_array_equal(counts.terms["packet"].sum(axis=1), expected["packets"])
    np.testing.assert_array_equal(counts.packets_in, expected["packets_in"])
    np.testing.assert_array_equal((counts.terms["hop_x"] + counts.terms["hop_y"]).sum(axis=1), expected["hops"])
    for way, load in counts.links.items():
        np.testing.assert_array_equal(load, expected[way], err_msg=way)
    # What enters the links leaves as hops, and every event that the workload counted is on some core.
    assert sum(int(load.sum()) for load in counts.links.values()) == int(expected["hops"].sum())
    assert int(expected["events"].sum()) == work.totals()["synaptic_events"]


def test_every_neuron_is_on_exactly_one_core():
    network = conv_net(4, 9)
    mapping = map_network(network, small_chip(37, 60), enforce=False)
    for population in network.populations:
        seen = sum(mapping.pieces[number].block.mask().astype(int) for number in mapping.held[population.name])
        assert (seen == 1).all(), population.name


def test_limits_are_kept():
    network = conv_net(8, 12)
    chip = small_chip(100, 600)
    mapping = map_network(network, chip, enforce=False)
    assert max(need.neurons for need in mapping.needs.values()) <= 100
    # The axons that are really wired, not the mapper's own estimate of them.
    for core in mapping.cores:
        wired: dict[str, np.ndarray] = {}
        for piece in mapping.pieces:
            if piece.core == core:
                for name in piece.populations:
                    for projection in network.into(name):
                        reached = projection.sources_of(piece.block.mask()[None])[0]
                        wired[projection.source] = wired.get(projection.source, False) | reached
        assert sum(int(mask.sum()) for mask in wired.values()) <= 600


def test_blocks_of_a_core_too_small_for_one_row():
    network = conv_net(2, 8)
    mapping = map_network(network, small_chip(3), enforce=False)
    assert max(piece.size for piece in mapping.pieces if piece.core != PORT) <= 3


def test_hilbert_visits_every_tile_once_and_steps_by_one_on_a_square():
    points = hilbert(8, 8)
    assert len({tuple(p) for p in points}) == 64
    assert (np.abs(np.diff(points, axis=0)).sum(axis=1) == 1).all()
    assert len({tuple(p) for p in hilbert(12, 13)}) == 156


def test_traffic_falls_along_the_curve_and_further_by_annealing():
    shape = (4, 16, 16)
    populations, projections = [Population("in", shape, "input")], []
    for k in range(8):
        projections.append(Projection.conv(f"c{k}", populations[-1].name, f"n{k}", shape, 4, (3, 3), 1, 1))
        populations.append(Population(f"n{k}", shape, model=IF))
    network = Network("chain", tuple(populations), tuple(projections))
    mesh = Topology("mesh", "test", 12, 12, 1, 1, "row")
    chip = dataclasses.replace(small_chip(64), topology=mesh)
    tally, hops = Tally(workload(network)), {}
    for strategy in ("in-order", "hilbert", "annealed"):
        counts = count_on(map_network(network, chip, strategy, enforce=False), tally)
        hops[strategy] = counts.total("hop_x") + counts.total("hop_y")
    assert hops["hilbert"] < 0.9 * hops["in-order"]
    assert hops["annealed"] < 0.6 * hops["in-order"]


def test_annealing_is_never_worse_than_its_start():
    rng = np.random.default_rng(0)
    for tiles in (2, 9, 30):
        flow = rng.random((tiles, tiles)) * (rng.random((tiles, tiles)) < 0.2)
        start = hilbert(6, 5)[:tiles]
        both = flow + flow.T
        assert hop_cost(anneal(start, flow), both) <= hop_cost(start, both)


def test_everything_that_does_not_fit_is_listed_with_a_way_out():
    network = conv_net(4, 160, stride=2)
    with pytest.raises(UnsupportedError) as caught:
        map_network(network, load_chip("speck2f"))
    limits = {reason.limit for reason in caught.value.reasons}
    assert {"input_size_max", "output_size_max", "core_neurons"} <= limits
    assert all(reason.fix and reason.needs and reason.has for reason in caught.value.reasons)
    assert "conv1" in str(caught.value)


def test_a_kernel_and_stride_that_the_chip_has_not_are_refused():
    shape = (2, 40, 40)
    conv = Projection.conv("big", "in", "out", shape, 4, (17, 3), 3, 0, weight_bits=16)
    populations = (Population("in", shape, "input"), Population("out", conv.target_shape, model=IF))
    with pytest.raises(UnsupportedError) as caught:
        map_network(Network("odd", populations, (conv,)), load_chip("dynapcnn"))
    limits = {reason.limit for reason in caught.value.reasons}
    assert limits == {"weight_bits", "kernel_max", "square_kernel", "strides"}


def test_fan_in_wall_and_core_count_of_odin():
    dense = Projection.linear("fc", "in", "out", (512,), 300, weight_bits=3)
    network = Network("wide", (Population("in", (512,), "input"), Population("out", (300,), model=IF)), (dense,))
    with pytest.raises(UnsupportedError) as caught:
        map_network(network, load_chip("odin"))
    assert {reason.limit for reason in caught.value.reasons} >= {"fan_in", "cores"}


def test_a_layer_finds_its_core_even_if_an_earlier_one_must_move():
    # 36 KiB of weights fit only on the two 64 KiB cores.
    def net(count: int) -> Network:
        populations = [Population("in", (64, 8, 8), "input")]
        projections = []
        for k in range(count):
            source = populations[-1].name
            projections.append(Projection.conv(f"c{k}", source, f"n{k}", (64, 8, 8), 64, (3, 3), 1, 1, weight_bits=8))
            populations.append(Population(f"n{k}", (64, 8, 8), model=IF))
        return Network("stack", tuple(populations), tuple(projections))

    mapping = map_network(net(2), load_chip("speck2f"))
    assert set(mapping.cores) == {5, 6}
    with pytest.raises(UnsupportedError, match="one more core"):
        map_network(net(3), load_chip("speck2f"))


def test_more_chips_are_used_up_to_the_largest_system():
    dense = Projection.linear("fc", "in", "out", (100,), 300_000, weight_bits=8)
    network = Network("wide", (Population("in", (100,), "input"), Population("out", (300_000,), model=IF)), (dense,))
    mapping = map_network(network, load_chip("loihi1"))
    assert mapping.chips == 3
    counts = count_on(mapping, Tally(workload(network, 1, 0.5)))
    assert counts.total("chip_hop") > 0
    one_chip = dataclasses.replace(
        load_chip("loihi1"), topology=dataclasses.replace(load_chip("loihi1").topology, chips_max=2)
    )
    with pytest.raises(UnsupportedError, match="3 chips"):
        map_network(network, one_chip)


def test_a_recording_with_its_axes_swapped_maps_in_seconds():
    """22 channels of 1000 samples behind permutations, whose reach no box describes: 13 s before, more on one core."""
    swapped = np.arange(22000).reshape(1000, 22).T.reshape(-1)
    time_first = np.arange(8 * 22 * 1001).reshape(8, 22, 1001).transpose(0, 2, 1).reshape(-1)
    first = Projection.conv(
        "a", "x", "h", (1, 22, 1000), 8, (1, 64), 1, (0, 32), source_size=22000, source_index=swapped
    )
    second = Projection.conv(
        "b", "h", "i", (8, 1001, 22), 16, (1, 22), 1, 0, groups=8, source_size=8 * 22 * 1001, source_index=time_first
    )
    populations = (
        Population("x", (1000, 22), "input"),
        Population("h", first.target_shape, model=IF),
        Population("i", second.target_shape, model=IF),
    )
    network = Network("eeg", populations, (first, second))
    start = time.process_time()
    mapping = map_network(network, load_chip("loihi1"), enforce=False)
    assert time.process_time() - start < 5
    assert len(mapping.cores) > 100


def test_unknown_strategy():
    with pytest.raises(InputError, match="annealed"):
        map_network(conv_net(), load_chip("loihi1"), "random")


def test_block_mask():
    assert Block((2, 3), (1, 2), (0, 2)).mask().tolist() == [False, False, False, True, True, False]
    assert Block.span(4, 1, 3).mask().tolist() == [False, True, True, False]
