"""Sums over blocks from sums over channels, beside explicit sums over neurons; sets beside single samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.graph.block import Block, BlockSums, fold
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.mapping.mapper import map_network
from neurokit.hw_sim.pricing.cost import price, step_figures
from neurokit.hw_sim.pricing.mapped_counts import count_on
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.pricing.wiring import Wiring


@pytest.mark.parametrize("edges", [(0, 600), (0, 200, 400, 600), (5, 6, 300, 590), tuple(range(601))])
@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_sums_over_channels_are_those_of_numpy(edges: tuple[int, ...], kind: type) -> None:
    values = np.ones((2, 600, 3), kind)  # the largest sums: bytes would wrap around at 256
    expected = [values[:, a:b].astype(np.int64).sum(axis=1) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(fold(values, edges), np.stack(expected, axis=1))


def network() -> Network:
    """A stem that joins channels, a depthwise layer, a pooling and a dense layer, all of odd sizes."""
    model = NeuronModel("if")
    stem = Projection.conv("stem", "x", "a", (3, 9, 7), 6, (3, 3), 2, 1)
    deep = Projection.conv("deep", "a", "b", stem.target_shape, 6, (3, 3), 1, 1, groups=6)
    pool = Projection.pool("pool", "b", "p", deep.target_shape, (2, 2))
    flat = int(np.prod(pool.target_shape))
    last = Projection.linear("last", "p", "c", (flat,), 5)
    shapes = {"a": stem.target_shape, "b": deep.target_shape, "c": (5,)}
    neurons = {name: Population(name, shape, model=model) for name, shape in shapes.items()}
    pooled = Population("p", pool.target_shape, "relay")
    populations = (Population("x", (3, 9, 7), "input"), neurons["a"], neurons["b"], pooled, neurons["c"])
    return Network("odd", populations, (stem, deep, pool, last))


def workload(net: Network, steps: int, seed: int) -> Workload:
    rng = np.random.default_rng(seed)
    rasters = {p.name: SpikeRaster.pack(rng.random((steps, p.size)) < 0.3) for p in net.populations}
    return Workload(net, rasters)


def test_every_sum_is_that_of_the_neurons_themselves() -> None:
    net = network()
    tally = Tally(workload(net, 5, 0))
    sums = [*tally.events.items(), *tally.active.items(), *tally.spikes.items()]
    target = {p.name: p.target for p in net.projections}
    for name, found in sums:
        shape = net[target.get(name, name)].shape
        view = shape[0], int(np.prod(shape[1:]))
        values = found.values().reshape(5, *view).astype(np.int64)
        blocks = [
            Block(view, (c, d), (p, q))
            for c, d in ((0, view[0]), (0, max(1, view[0] // 2)), (view[0] - 1, view[0]))
            for p, q in ((0, view[1]), (view[1] // 2, view[1]), (0, max(1, view[1] // 3)))
        ]
        expected = [values[:, slice(*b.channels), slice(*b.places)].sum(axis=(1, 2)) for b in blocks]
        assert np.array_equal(found.over(blocks), np.stack(expected, axis=1)), name
    for projection in net.projections:
        edges = np.bincount(projection.edges()[:, 0], minlength=projection.source_size)
        assert np.array_equal(tally.step_events(projection), tally.unpacked(projection.source).astype(int) @ edges)


def test_block_sums_without_a_shape_of_their_own() -> None:
    values = np.arange(24).reshape(2, 12)
    found = BlockSums((12,), lambda: values).over([Block((3, 4), (1, 3), (0, 2))])
    assert found.tolist() == [[4 + 5 + 8 + 9], [16 + 17 + 20 + 21]]


@pytest.mark.parametrize("chip", ["loihi1", "loihi1-sanafe", "speck2f", "truenorth"])
def test_wiring_serves_several_workloads(chip: str) -> None:
    net, profile = network(), load_chip(chip)
    mapping = map_network(net, profile, "in-order", enforce=False)
    wiring = Wiring(mapping, {p.name for p in net.populations})
    for seed in (1, 2):
        work = workload(net, 3, seed)
        kept, fresh = (count_on(mapping, Tally(work), given) for given in (wiring, None))
        assert all(np.array_equal(kept.terms[term], fresh.terms[term]) for term in fresh.terms)
        assert all(np.array_equal(kept.links[way], fresh.links[way]) for way in fresh.links)
        report, (joules, seconds) = price(fresh, profile), step_figures(kept, profile)
        if joules is not None:
            assert joules == pytest.approx(np.array(report.steps), rel=1e-12)
        if report.latency is not None and seconds is not None:
            assert seconds == pytest.approx(np.array(report.latency.steps), rel=1e-12)
