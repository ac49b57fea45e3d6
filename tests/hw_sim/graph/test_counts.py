"""Networks and counts: whole small networks against edge lists; shortcuts, products and silence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.errors import InputError
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population, Product
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster

IF = NeuronModel("if")


def shortcut_network() -> Network:
    """Image -> conv -> a; a -> conv + membrane shortcut -> current -> b; b -> linear -> out."""
    stem = Projection.conv("stem", "image", "stem.current", (2, 6, 6), 4, (3, 3), 1, 1)
    block = Projection.conv("block", "a", "block.current", (4, 6, 6), 4, (3, 3), 1, 1)
    return Network(
        "shortcut",
        (
            Population("image", (2, 6, 6), "input", binary=False),
            Population("stem.current", (4, 6, 6), "current", binary=False),
            Population("a", (4, 6, 6), model=IF),
            Population("block.current", (4, 6, 6), "current", binary=False),
            Population("b", (4, 6, 6), model=IF),
            Population("out", (5,), "current", binary=False),
        ),
        (
            stem,
            Projection.identity("to a", "stem.current", "a", (4, 6, 6)),
            block,
            Projection.identity("shortcut", "stem.current", "block.current", (4, 6, 6)),
            Projection.identity("to b", "block.current", "b", (4, 6, 6)),
            Projection.linear("head", "b", "out", (144,), 5),
        ),
        outputs=("out",),
    )


def workload(network: Network, rate: float, seed: int = 0, steps: int = 3) -> Workload:
    rng = np.random.default_rng(seed)
    rasters = {p.name: SpikeRaster.pack(rng.random((steps, p.size)) < rate) for p in network.populations}
    return Workload(network, rasters)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**16))
def test_counts_of_a_network_with_shortcuts_equal_brute_force(rate, seed):
    network = shortcut_network()
    load = workload(network, rate, seed)
    for count in load.counts:
        synaptic, graded = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for p in network.into(count.name):
            spikes = load.rasters[p.source].unpack()
            crossed = np.array([sum(step[s] for s, _, _ in p.edges()) for step in spikes.astype(np.int64)])
            if network[p.source].binary:
                synaptic += crossed
            elif p.kind != "identity":
                graded += crossed
        np.testing.assert_array_equal(count.synaptic_events, synaptic)
        np.testing.assert_array_equal(count.graded_events, graded)
    by_name = {count.name: count for count in load.counts}
    assert by_name["block.current"].shortcut_adds.tolist() == [144] * 3
    assert by_name["b"].neuron_updates.tolist() == [144] * 3
    assert by_name["stem.current"].neuron_updates.tolist() == [0] * 3
    assert by_name["out"].synaptic_events.sum() == 5 * load.rasters["b"].count


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**16))
def test_events_in_equal_events_routed(rate, seed):
    load = workload(shortcut_network(), rate, seed)
    for p in load.network.projections:
        if p.name in ("stem", "block", "head"):
            arrived = p.events_per_target(load.rasters[p.source].unpack()).sum(axis=1)
            np.testing.assert_array_equal(arrived, load.events(p))


def test_silence_costs_no_events():
    load = workload(shortcut_network(), 0.0)
    totals = load.totals()
    assert totals["synaptic_events"] == totals["graded_events"] == totals["product_operations"] == totals["spikes"] == 0
    assert totals["neuron_updates"] == 2 * 144 * 3
    assert totals["shortcut_adds"] == 3 * 144 * 3
    for count in load.counts:
        assert all(not access.reads.any() for access in count.memory if access.what == "weight")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.floats(0, 1))
def test_product_operations_equal_brute_force(seed, batch, rows, inner, rate):
    rng = np.random.default_rng(seed)
    columns, steps = 3, 2
    left = (rng.random((steps, batch * rows * inner)) < rate).astype(np.uint8)
    right = (rng.random((steps, batch * inner * columns)) < rate).astype(np.uint8)
    turn = rng.permutation(left.shape[1])  # K^T: the operand is a permuted view of its population
    product = Product("p", "l", "r", "o", batch, rows, inner, columns, left_index=turn)
    wanted = []
    for t in range(steps):
        a = left[t][turn].reshape(batch, rows, inner)
        b = right[t].reshape(batch, inner, columns)
        wanted.append(
            sum(
                int(a[n, i, k]) * int(b[n, k, j])
                for n in range(batch)
                for i in range(rows)
                for k in range(inner)
                for j in range(columns)
            )
        )
    assert product.operations(left, right).tolist() == wanted
    assert product.dense_operations == batch * rows * inner * columns


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**16))
def test_rasters_keep_every_spike(steps, neurons, seed):
    spikes = (np.random.default_rng(seed).random((steps, neurons)) < 0.4).astype(np.float32)
    raster = SpikeRaster.pack(spikes)
    np.testing.assert_array_equal(raster.unpack(), spikes)
    np.testing.assert_array_equal(raster.per_step(), spikes.sum(axis=1))
    np.testing.assert_array_equal(raster.per_neuron(), spikes.sum(axis=0))
    assert [step.tolist() for step in raster.steps()] == [np.flatnonzero(row).tolist() for row in spikes]
    assert raster.count == spikes.sum()
    assert raster.bits.nbytes == steps * ((neurons + 7) // 8)
    assert SpikeRaster.empty(steps, neurons).count == 0


def test_bad_networks_and_rasters_are_refused():
    a, b = Population("a", (4,), "input"), Population("b", (3,), model=IF)
    dense = Projection.linear("d", "a", "b", (4,), 3)
    with pytest.raises(InputError, match="comes before its source"):
        Network("n", (b, a), (dense,))
    with pytest.raises(InputError, match="unknown population 'a'"):
        Network("n", (b,), (dense,))
    with pytest.raises(InputError, match="two projections of one name"):
        Network("n", (a, b), (dense, dense))
    with pytest.raises(InputError, match="joins 4 to 3"):
        Network("n", (Population("a", (5,), "input"), b), (dense,))
    with pytest.raises(InputError, match="neuron model"):
        Population("b", (3,))
    with pytest.raises(InputError, match="no spikes were recorded for 'b'"):
        Workload(Network("n", (a, b), (dense,)), {"a": SpikeRaster.empty(2, 4)})
    with pytest.raises(InputError, match="time steps"):
        Workload(Network("n", (a, b), (dense,)), {"a": SpikeRaster.empty(2, 4), "b": SpikeRaster.empty(3, 3)})
    with pytest.raises(InputError, match="NaN"):
        SpikeRaster.pack(np.full((1, 2), np.nan))
