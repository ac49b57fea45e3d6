"""SANA-FE side by side: energy to 1e-9, step time, spikes; and its YAML, read and written."""

from __future__ import annotations

import dataclasses
import graphlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from neurokit.errors import InputError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.chips.limits import Topology
from neurokit.hw_sim.graph.block import Block
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.mapping.mapping import Piece, place_by_hand
from neurokit.hw_sim.pricing.cost import price
from neurokit.hw_sim.pricing.mapped_counts import count_on
from neurokit.hw_sim.pricing.queueing import queued_step_times
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.sanafe import read_architecture, read_network, write_architecture, write_network

pytest.importorskip("yaml")
STEPS = 12


def profile():
    """The fitted Loihi on 2 x 2 tiles: SANA-FE needs 1.5 GB for all 32."""
    chip = load_chip("loihi1-sanafe")
    limits = dataclasses.replace(chip.limits, cores=16)
    return dataclasses.replace(chip, limits=limits, topology=Topology("mesh", "test", 2, 2, 4, 1, "column"))


def dense() -> Network:
    return layered("dense", [(40,), (30,)])


def two_layers() -> Network:
    return layered("two", [(40,), (30,), (10,)])


def layered(name: str, shapes: list[tuple[int, ...]]) -> Network:
    rng = np.random.default_rng(1)
    populations = [Population("l0", shapes[0], "input")]
    projections = []
    for k, shape in enumerate(shapes[1:], start=1):
        weight = rng.integers(-3, 5, (shape[0], shapes[k - 1][0])).astype(float)
        populations.append(Population(f"l{k}", shape, model=NeuronModel("if", 6.0)))
        projections.append(Projection.linear(f"fc{k}", f"l{k - 1}", f"l{k}", shapes[k - 1], shape[0], weight=weight))
    return Network(name, tuple(populations), tuple(projections))


def conv() -> Network:
    rng = np.random.default_rng(2)
    weight = rng.integers(-3, 5, (4, 2, 3, 3)).astype(float)
    projection = Projection.conv("conv1", "l0", "l1", (2, 8, 8), 4, (3, 3), 2, 0, weight=weight)
    populations = (
        Population("l0", (2, 8, 8), "input"),
        Population("l1", projection.target_shape, model=NeuronModel("if", 6.0)),
    )
    return Network("conv", populations, (projection,))


def placed(network: Network):
    """Every population over two cores, on different tiles."""
    pieces = []
    for k, population in enumerate(network.populations):
        half = population.size // 2
        for part, (start, stop) in enumerate(((0, half), (half, population.size))):
            pieces.append(Piece((population.name,), Block.span(population.size, start, stop), (5 * k + 3 * part) % 16))
    return place_by_hand(network, profile(), pieces)


def simulate(network: Network, inputs: np.ndarray) -> tuple[dict[str, SpikeRaster], dict[str, SpikeRaster]]:
    """Integrates and fires in plain numpy as SANA-FE orders it: a spike arrives in the next step.

    Returns the spikes and which neurons SANA-FE counts as updated: those with a potential or an arriving event.
    """
    spikes = {"l0": inputs.astype(float)}
    active = {}
    for population in network.populations[1:]:
        (projection,) = network.into(population.name)
        matrix = np.zeros((population.size, projection.source_size))
        count = np.zeros_like(matrix)
        for source, target, index in projection.edges():
            matrix[target, source] += projection.weight.reshape(-1)[index]
            count[target, source] += 1
        late = np.vstack([np.zeros(projection.source_size), spikes[projection.source][:-1]])
        v, fired, updated = np.zeros(population.size), [], []
        for arriving in late:
            updated.append((np.abs(v) > 0) | (count @ arriving > 0))
            v = v + matrix @ arriving
            fired.append(v > population.model.threshold)
            v = np.where(fired[-1], 0.0, v)
        spikes[population.name] = np.array(fired, float)
        active[population.name] = SpikeRaster.pack(np.array(updated))
    return {name: SpikeRaster.pack(raster) for name, raster in spikes.items()}, active


def sending_order(trace: list[list[dict]]) -> list[int]:
    """Returns the order in which neurons send to cores: that of SANA-FE's pointers, another one in each process."""
    before: dict[int, set[int]] = {}
    for step in trace:
        sent: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for m in step:
            if not m["placeholder"]:
                key = (m["src_neuron_group_id"], m["src_neuron_offset"])
                sent.setdefault(key, []).append((m["mid"], m["dest_core_id"]))
        for packets in sent.values():
            for (_, first), (_, second) in itertools.pairwise(sorted(packets)):
                before.setdefault(second, set()).add(first)
    return list(graphlib.TopologicalSorter(before).static_order())


@pytest.mark.parametrize("build", [dense, conv, two_layers])
def test_energy_and_step_time_equal_sanafe(build, tmp_path):
    sanafe = pytest.importorskip("sanafe", reason="the SANA-FE simulator is an optional oracle: pip install sanafe")
    network = build()
    inputs = (np.random.default_rng(3).random((STEPS, network.populations[0].size)) < 0.3).astype(np.uint8)
    mapping = placed(network)
    architecture = write_architecture(profile(), tmp_path / "arch.yaml", input_units=128)
    written = write_network(mapping, {"l0": SpikeRaster.pack(inputs)}, tmp_path / "net.yaml")
    arch = sanafe.load_arch(str(architecture))
    chip = sanafe.SpikingChip(arch)
    chip.load(sanafe.load_net(str(written), arch))
    theirs = chip.sim(STEPS, timing_model="simple", processing_threads=1, spike_trace=True, perf_trace=True)
    chip = sanafe.SpikingChip(arch)
    chip.load(sanafe.load_net(str(written), arch))
    queued = chip.sim(STEPS, timing_model="detailed", processing_threads=1, message_trace=True)

    rasters, active = simulate(network, inputs)
    fired = sum(rasters[p.name].count for p in network.populations)
    assert sum(len(step) for step in theirs["spike_trace"]) == fired
    assert fired > inputs.sum() + 20  # neurons beyond the input do spike

    counts = count_on(mapping, Tally(Workload(network, rasters), active))
    ours = price(counts, profile())
    assert theirs["spikes"] == sum(int(counts.total(t)) for t in counts.terms if t.startswith("synaptic_event"))
    energy = theirs["energy"]
    assert ours.total.value == pytest.approx(energy["total"], rel=1e-9)
    assert ours.components["synapse"].value == pytest.approx(energy["synapse"], rel=1e-9)
    assert ours.components["neuron"].value == pytest.approx(energy["soma"], rel=1e-9)
    assert ours.components["routing"].value == pytest.approx(energy["network"], rel=1e-9)
    assert ours.latency.inference.value == pytest.approx(theirs["sim_time"], rel=1e-9)
    order = sending_order(queued["message_trace"])
    with_queues = queued_step_times(mapping, Tally(Workload(network, rasters), active), profile(), order)
    assert with_queues.sum() == pytest.approx(queued["sim_time"], rel=1e-9)


def loop() -> Network:
    rng = np.random.default_rng(5)
    forth, back, out = (rng.integers(-3, 5, shape).astype(float) for shape in ((60, 40), (60, 60), (12, 60)))
    populations = (
        Population("l0", (40,), "input"),
        Population("l1", (60,), model=NeuronModel("if", 30.0)),
        Population("l2", (12,), model=NeuronModel("if", 40.0)),
    )
    projections = (
        Projection.linear("in", "l0", "l1", (40,), 60, weight=forth),
        Projection.linear("loop", "l1", "l1", (60,), 60, weight=back - 1, delay=1),
        Projection.linear("out", "l1", "l2", (60,), 12, weight=out),
    )
    return Network("loop", populations, projections)


def test_a_loop_is_written_and_runs_in_sanafe_as_it_does_here(tmp_path):
    """Integrated in plain numpy: everything that is sent in a step arrives in the next, the loop too."""
    sanafe = pytest.importorskip("sanafe", reason="the SANA-FE simulator is an optional oracle: pip install sanafe")
    network = loop()
    inputs = (np.random.default_rng(3).random((STEPS, 40)) < 0.5).astype(np.uint8)
    spikes = {"l0": inputs.astype(float), "l1": np.zeros((STEPS, 60)), "l2": np.zeros((STEPS, 12))}
    voltage = {"l1": np.zeros(60), "l2": np.zeros(12)}
    for t in range(STEPS):
        for population in network.populations[1:]:
            name = population.name
            for projection in network.into(name) if t else ():
                voltage[name] = voltage[name] + projection.weight @ spikes[projection.source][t - 1]
            spikes[name][t] = voltage[name] > population.model.threshold
            voltage[name] = np.where(spikes[name][t], 0.0, voltage[name])
    arch = sanafe.load_arch(str(write_architecture(profile(), tmp_path / "arch.yaml", input_units=128)))
    chip = sanafe.SpikingChip(arch)
    written = write_network(placed(network), {"l0": SpikeRaster.pack(inputs)}, tmp_path / "net.yaml")
    chip.load(sanafe.load_net(str(written), arch))
    theirs = chip.sim(STEPS, timing_model="simple", processing_threads=1, spike_trace=True)
    assert [len(step) for step in theirs["spike_trace"]] == [
        int(sum(s[t].sum() for s in spikes.values())) for t in range(STEPS)
    ]
    assert spikes["l1"].sum() > 20
    late = dataclasses.replace(network.projections[1], delay=2)
    with pytest.raises(InputError, match="delay of 2"):
        write_network(
            placed(dataclasses.replace(network, projections=(network.projections[0], late))),
            {"l0": SpikeRaster.pack(inputs)},
            tmp_path / "late.yaml",
        )


def test_queues_under_congestion_equal_sanafe(tmp_path):
    """All inputs at once onto cores far apart: routes are beyond the capacity of their buffers."""
    sanafe = pytest.importorskip("sanafe", reason="the SANA-FE simulator is an optional oracle: pip install sanafe")
    network = layered("crowd", [(120,), (200,), (64,)])
    pieces = []
    for k, population in enumerate(network.populations):
        edges = [population.size * i // 3 for i in range(4)]
        blocks = [Block.span(population.size, a, b) for a, b in itertools.pairwise(edges)]
        pieces += [Piece((population.name,), block, (5 * k + 3 * i + 1) % 16) for i, block in enumerate(blocks)]
    mapping = place_by_hand(network, profile(), pieces)
    inputs = (np.random.default_rng(3).random((STEPS, 120)) < 0.9).astype(np.uint8)
    arch = sanafe.load_arch(str(write_architecture(profile(), tmp_path / "arch.yaml", input_units=128)))
    chip = sanafe.SpikingChip(arch)
    chip.load(
        sanafe.load_net(str(write_network(mapping, {"l0": SpikeRaster.pack(inputs)}, tmp_path / "net.yaml")), arch)
    )
    run = chip.sim(STEPS, timing_model="detailed", processing_threads=1, message_trace=True)
    theirs, order = run["sim_time"], sending_order(run["message_trace"])
    rasters, active = simulate(network, inputs)
    tally = Tally(Workload(network, rasters), active)
    queued = queued_step_times(mapping, tally, profile(), order)
    assert queued.sum() == pytest.approx(theirs, rel=1e-9)
    counts = count_on(mapping, tally)
    plain = price(counts, profile()).latency.inference.value
    assert queued.sum() >= plain
    assert price(counts, profile(), queued=queued).latency.inference.value == pytest.approx(theirs, rel=1e-9)


def test_the_shipped_architecture_has_the_prices_of_our_profile():
    sanafe = pytest.importorskip("sanafe", reason="the SANA-FE simulator is an optional oracle: pip install sanafe")
    read = read_architecture(Path(sanafe.__file__).parent / "examples" / "loihi.yaml")
    ours = load_chip("loihi1-sanafe")
    assert {t: c.value for t, c in read.prices.items()} == {t: c.value for t, c in ours.prices.items()}
    assert {t: c.value for t, c in read.times.items()} == {t: c.value for t, c in ours.times.items()}
    assert read.barrier == ours.barrier
    assert (read.topology.width, read.topology.height, read.limits.cores) == (8, 4, 128)


@pytest.mark.parametrize("build", [dense, conv, two_layers])
def test_a_written_network_reads_back_with_the_same_counts(build, tmp_path):
    network = build()
    inputs = (np.random.default_rng(4).random((STEPS, network.populations[0].size)) < 0.3).astype(np.uint8)
    rasters, active = simulate(network, inputs)
    mapping = placed(network)
    read = read_network(write_network(mapping, {"l0": rasters["l0"]}, tmp_path / "net.yaml"), 4)
    np.testing.assert_array_equal(read.inputs["l0"].unpack(), inputs)
    first = count_on(mapping, Tally(Workload(network, rasters), active))
    again = place_by_hand(read.network, profile(), read.pieces)
    second = count_on(again, Tally(Workload(read.network, rasters), active))
    for term in ("neuron_access", "neuron_update", "spike", "packet", "hop_x", "hop_y"):
        assert second.total(term) == first.total(term) > 0, term
    events = [sum(c.total(t) for t in c.terms if t.startswith("synaptic_event")) for c in (first, second)]
    assert events[0] == events[1] > 0


def test_a_written_architecture_reads_back(tmp_path):
    read = read_architecture(write_architecture(profile(), tmp_path / "arch.yaml"))
    ours = profile()
    assert {t: c.value for t, c in read.prices.items()} == {t: c.value for t, c in ours.prices.items()}
    assert {t: c.value for t, c in read.times.items()} == {t: c.value for t, c in ours.times.items()}
    assert (read.topology.width, read.topology.cores_per_tile, read.barrier) == (2, 4, ours.barrier)


def test_their_conv_counts_without_padding(tmp_path):
    text = """
network:
  name: c
  groups:
    - {name: in, attributes: [], neurons: [0..31: [spikes: [1, 1]]]}
    - {name: out, attributes: [threshold: 1.0], neurons: [0..26: []]}
  edges:
    - in -> out: {type: conv2d, input_height: 4, input_width: 4, input_channels: 2, kernel_count: 3,
                  kernel_height: 2, kernel_width: 2}
mappings:
  - in: [core: 0.0, soma: inputs]
  - out: [core: 0.1]
"""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    read = read_network(path, 4)
    (projection,) = read.network.projections
    assert projection.synapses == 27 * 2 * 4  # every output reads 2 x 2 places of 2 channels
    assert {piece.core for piece in read.pieces} == {0, 1}


def test_what_sanafe_cannot_hold_is_refused(tmp_path):
    with pytest.raises(InputError, match="static_chip"):
        write_architecture(load_chip("loihi1"), tmp_path / "a.yaml")
    with pytest.raises(InputError, match="no mesh"):
        write_architecture(load_chip("speck2f"), tmp_path / "a.yaml")
    assert not list(tmp_path.iterdir())
    (tmp_path / "x.yaml").write_text("a: 1")
    with pytest.raises(InputError, match="no section"):
        read_architecture(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("a: [1")
    with pytest.raises(InputError, match="not valid YAML"):
        read_architecture(tmp_path / "x.yaml")
