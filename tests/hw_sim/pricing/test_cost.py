"""Laws of pricing, refusals, intervals, latency and reuse of counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.errors import InputError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.chips.profile import Constant
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.mapping.mapper import map_network
from neurokit.hw_sim.pricing.cost import price
from neurokit.hw_sim.pricing.mapped_counts import count_on
from neurokit.hw_sim.pricing.tally import Tally

PRICED = ["loihi1", "loihi1-sanafe", "truenorth", "odin", "spinnaker1", "darwin3", "cmos45", "speck2f"]


def small_net(binary_input: bool = True) -> Network:
    conv = Projection.conv("conv", "in", "a", (2, 6, 6), 3, (3, 3), 1, 1)
    fc = Projection.linear("fc", "a", "out", (108,), 5)
    populations = (
        Population("in", (2, 6, 6), "input", binary=binary_input),
        Population("a", (3, 6, 6), model=NeuronModel("if")),
        Population("out", (5,), model=NeuronModel("if")),
    )
    return Network("small", populations, (conv, fc), outputs=("out",))


def spikes_of(network: Network, rate: float, seed: int, steps: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {p.name: rng.random((steps, p.size)) < rate for p in network.populations}


def run(network: Network, spikes: dict[str, np.ndarray], chip: str, **options):
    profile = load_chip(chip)
    work = Workload(network, {name: SpikeRaster.pack(raster) for name, raster in spikes.items()})
    mapping = map_network(network, profile, "in-order", enforce=False)
    return price(count_on(mapping, Tally(work)), profile, **options)


@settings(max_examples=20, deadline=None)
@given(chip=st.sampled_from(PRICED), rate=st.floats(0, 1), seed=st.integers(0, 1000))
def test_energy_is_the_sum_of_its_parts(chip, rate, seed):
    network = small_net()
    result = run(network, spikes_of(network, rate, seed), chip, step_seconds=1e-3)
    total = result.total.value
    assert total == pytest.approx(sum(part.value for part in result.components.values()), rel=1e-12)
    assert total == pytest.approx(sum(result.steps), rel=1e-9)
    static = sum(result.components[name].value for name in ("static", "host") if name in result.components)
    dynamic = sum(sum(parts.values()) for parts in result.layers.values())
    assert total == pytest.approx(static + dynamic, rel=1e-9)
    # Inputs are on no core: what is booked on them is the traffic they send.
    on_cores = sum(result.core_energy) + sum(result.layers["in"].values())
    assert dynamic == pytest.approx(on_cores, rel=1e-9, abs=1e-30)
    for quantity in (result.total, *result.components.values()):
        assert quantity.low <= quantity.value <= quantity.high
        assert quantity.source


@settings(max_examples=20, deadline=None)
@given(chip=st.sampled_from(PRICED), rate=st.floats(0, 0.5), seed=st.integers(0, 1000), more=st.integers(1, 40))
def test_more_spikes_are_never_cheaper(chip, rate, seed, more):
    network = small_net()
    fewer = spikes_of(network, rate, seed)
    rng = np.random.default_rng(seed + 1)
    added = {name: raster | (rng.random(raster.shape) < more / 100) for name, raster in fewer.items()}
    before, after = (run(network, s, chip, step_seconds=1e-3) for s in (fewer, added))
    for end in ("value", "low", "high"):
        assert getattr(after.total, end) >= getattr(before.total, end) * (1 - 1e-12)
    assert sum(after.latency.steps) >= sum(before.latency.steps) * (1 - 1e-12)


@pytest.mark.parametrize("chip", ["truenorth", "odin", "speck2f"])
def test_without_spikes_only_static_energy_is_left(chip):
    network = small_net()
    result = run(network, spikes_of(network, 0.0, 0), chip, step_seconds=1e-3)
    timed = sum(result.components[name].value for name in ("static", "host") if name in result.components)
    assert result.total.value == pytest.approx(timed)
    assert result.total.value > 0


def test_without_spikes_a_clocked_neuron_still_costs():
    network = small_net()
    result = run(network, spikes_of(network, 0.0, 0), "loihi1")
    assert result.components["synapse"].value == 0
    assert result.components["routing"].value == 0
    # 113 neurons x 4 steps x 52 pJ (inactive), Davies 2018 Table 2.
    assert result.components["neuron"].value == pytest.approx(113 * 4 * 52e-12)


def test_counts_times_prices_by_hand():
    network = small_net()
    spikes = {p.name: np.zeros((4, p.size), bool) for p in network.populations}
    spikes["in"][1, 7] = True  # channel 0, row 1, column 1: all nine taps of three channels
    spikes["a"][2, 0] = True
    result = run(network, spikes, "loihi1")
    assert result.components["synapse"].value == pytest.approx((27 + 5) * 23.6e-12)
    # 27 and 5 neurons are active once; the remaining 113 * 4 - 32 updates are inactive.
    assert result.components["neuron"].value == pytest.approx(32 * 81e-12 + (113 * 4 - 32) * 52e-12)
    # All on one core: two packets without hops, each handed over once.
    assert result.components["routing"].value == pytest.approx(2 * 1.7e-12)
    assert result.components["routing"].kind == "simulated"


def test_latency_by_hand():
    network = small_net()
    spikes = {p.name: np.zeros((4, p.size), bool) for p in network.populations}
    spikes["in"][1, 7] = True
    steps = run(network, spikes, "loihi1", pace="chip").latency.steps
    neurons_idle = 113 * 5.3e-9 + 113e-9  # barrier of one tile
    assert steps[0] == pytest.approx(neurons_idle)
    assert steps[1] == pytest.approx(86 * 5.3e-9 + 27 * 8.4e-9 + 113e-9)
    report = run(network, spikes, "loihi1", pace="chip").latency
    assert report.p50 == pytest.approx(neurons_idle)
    assert report.p50 <= report.p99 <= max(report.steps)
    assert report.inference.value == pytest.approx(sum(steps))


def test_a_tick_sets_the_pace():
    network = small_net()
    result = run(network, spikes_of(network, 0.2, 0), "truenorth")
    assert result.latency.steps == (1e-3,) * 4
    assert set(result.latency.bound_by) == {"clock"}
    # 64.43 mW over four milliseconds.
    assert result.components["static"].value == pytest.approx(64.43e-3 * 4e-3)


def test_a_host_sets_the_pace_and_both_ends_are_in_the_interval():
    """337 us a step and 78 mW beside the 29.7 mW of the chip (power logs of abr/power_benchmarks)."""
    network = small_net()
    spikes = spikes_of(network, 0.2, 0)
    alone, host, either = (run(network, spikes, "loihi1", pace=pace) for pace in ("chip", "host", None))
    assert host.latency.inference.value == either.latency.inference.value == pytest.approx(4 * 337e-6)
    assert either.latency.inference.low == pytest.approx(alone.latency.inference.low)
    assert set(host.latency.bound_by) == {"host"}
    assert set(alone.latency.bound_by) <= {"neurons", "synapses", "links"}
    assert host.components["host"].value == pytest.approx(4 * 337e-6 * 78e-3)
    # One reset of the chip a run is in the static part: 5.94 uJ.
    assert host.components["static"].value == pytest.approx(4 * 337e-6 * 29.7e-3 + 5.94e-6)
    sensor = run(network, spikes, "loihi1", step_seconds=1e-3)
    assert sensor.latency.steps == (1e-3,) * 4


def test_a_pace_that_is_not_known_is_refused_in_one_line():
    network = small_net()
    spikes = spikes_of(network, 0.2, 0)
    with pytest.raises(InputError, match="unknown pace 'fast'"):
        run(network, spikes, "loihi1", pace="fast")
    with pytest.raises(InputError, match="no time of a step at a host's pace"):
        run(network, spikes, "truenorth", pace="host")


def test_the_error_of_a_model_is_in_its_interval():
    """SANA-FE states 12 % of energy and 25 % of latency for its Loihi."""
    network = small_net()
    result = run(network, spikes_of(network, 0.2, 0), "loihi1-sanafe")
    assert result.total.high == pytest.approx(1.12 * result.total.value)
    assert result.total.low == pytest.approx(0.88 * result.total.value)
    assert result.latency.inference.high == pytest.approx(1.25 * result.latency.inference.value)


def test_no_price_no_joules():
    network = small_net()
    result = run(network, spikes_of(network, 0.2, 0), "akida")
    assert result.status == "refused"
    assert result.total is None
    assert result.components == {}
    assert result.counts["synaptic_event_conv"] > 0
    assert {line.split(":")[0] for line in result.unpriced} == {"synapse", "neuron", "routing", "memory", "static"}


def test_a_bound_is_printed_as_one():
    """Hala Point: 2600 W over 380e12 operations a second."""
    network = small_net()
    result = run(network, spikes_of(network, 0.2, 0), "loihi2")
    assert result.status == "lower-bound"
    assert result.headline().startswith("at least")
    events = sum(result.counts[f"synaptic_event_{kind}"] for kind in ("dense", "conv", "sparse"))
    assert result.total.value == pytest.approx(events * 2600 / 380e12, rel=1e-3)


def test_a_users_price_lifts_the_refusal_but_not_the_bound():
    network = small_net()
    profile = load_chip("dynapcnn").with_prices({"synaptic_event": 10e-12})
    work = Workload(network, {n: SpikeRaster.pack(s) for n, s in spikes_of(network, 0.2, 0).items()})
    counts = count_on(map_network(network, profile), Tally(work))
    result = price(counts, profile)
    assert result.status == "lower-bound"
    assert result.total.kind == "assumed"
    assert result.total.value == pytest.approx(work.totals()["synaptic_events"] * 10e-12)
    assert any("assumed" in note for note in result.assumptions)
    assert "at least" in result.headline()


def test_what_is_unpriced_makes_a_lower_bound():
    network = small_net()
    result = run(network, spikes_of(network, 0.2, 0), "darwin3")
    assert result.status == "lower-bound"
    assert {line.split(":")[0] for line in result.unpriced} == {"neuron", "routing", "static"}


def test_graded_inputs_are_not_priced_as_spikes():
    network = small_net(binary_input=False)
    spikes = spikes_of(network, 0.2, 0)
    result = run(network, spikes, "loihi1")
    assert result.status == "lower-bound"
    assert any("graded_event" in line for line in result.unpriced)
    assert result.counts["graded_event"] > 0
    assert result.counts["synaptic_event_conv"] == 0
    # A price of a spike that covers its synapses says nothing of a value that is no spike.
    speck = run(network, spikes, "speck2f", step_seconds=1e-3)
    assert any("graded_event" in line for line in speck.unpriced)
    cmos = run(network, spikes, "cmos45")
    assert not any("graded_event" in line for line in cmos.unpriced)


def test_all_in_price_is_the_whole_total():
    network = small_net()
    all_in = Constant(12.7e-12, 12.7e-12, 12.7e-12, "J", "silicon", "headline of the paper", scope="all-in")
    profile = dataclasses.replace(load_chip("odin"), prices={"synaptic_event": all_in})
    work = Workload(network, {n: SpikeRaster.pack(s) for n, s in spikes_of(network, 0.2, 0).items()})
    result = price(count_on(map_network(network, profile, enforce=False), Tally(work)), profile)
    assert result.total.value == pytest.approx(work.totals()["synaptic_events"] * 12.7e-12)
    assert result.unpriced == ()
