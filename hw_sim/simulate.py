"""From a recorded workload to the energy report: tally once, then map and price every chip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neurokit._version import __version__
from neurokit.errors import InputError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.devices import Device, load_comparator
from neurokit.hw_sim.estimators import estimate
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.numerics import parse_width, with_weight_bits
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.pricing.cost import price
from neurokit.hw_sim.pricing.mapped_counts import MappedCounts, count_on
from neurokit.hw_sim.pricing.queueing import can_queue, queued_step_times
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.pricing.verdict import NO_VERDICT, comparators_of, compare, spikes_per_synapse
from neurokit.hw_sim.pricing.wiring import Placements, placed
from neurokit.hw_sim.sample_set import spread_of
from neurokit.reports.energy import ChipReport, EnergyReport, LayerReport, Spread
from neurokit.reports.latency import LatencyReport

DEFAULT_ESTIMATORS = ("sop", "spikingjelly", "lemaire2022", "yan2024", "dampfhoffer2023", "ann-int8", "ann-fp32")
DEFAULT_DEVICES = ("stm32u575", "ndp9120")  # a microcontroller and an accelerator that anybody can buy

Chips = Iterable[str | Path | HardwareProfile]
Comparator = str | Path | Device | LatencyReport


def simulate_workload(
    workload: Workload,
    chips: Chips,
    mapping: str = "annealed",
    estimators: Sequence[str] = DEFAULT_ESTIMATORS,
    step_seconds: float | None = None,
    active: Mapping[str, SpikeRaster] | None = None,
    pace: str | None = None,
    devices: Sequence[Comparator] = DEFAULT_DEVICES,
    weight_bits: int | str | None = None,
    queueing: bool = False,
    placements: Placements | None = None,
) -> EnergyReport:
    """Maps and prices one sample on chips.

    A network that does not fit on a chip is priced as if it did, and every line says so.

    Args:
        workload: A network and its recorded spikes.
        chips: Names, paths of .toml files, or profiles (for example with a user's own prices).
        mapping: "in-order", "hilbert" or "annealed".
        estimators: Names of estimators from the literature.
        step_seconds: Time between two inputs, where a sensor sets the pace.
        active: Which neurons were active in each step, where that is known.
        pace: Who sets the time of a step without a sensor: "chip", "host" or None (`hw_sim.pricing.timing`).
        devices: Edge devices (`hw_sim.devices`), or JSON reports of `neurokit bench`, to compare with.
        weight_bits: Width of all weights: bits, "binary" or "ternary". None: what the weights themselves say; floats
            are taken in the widest form that each chip has.
        queueing: Whether packets wait for each other (`hw_sim.pricing.queueing`), on chips with a mesh and times.
        placements: Mappings that are known already; those that are made are added.

    Raises:
        UnknownNameError: If a chip or estimator is unknown.
        InputError: If a chip file is damaged, or the workload has no time steps or nothing that spikes.
    """
    return simulate_workloads(
        [workload],
        chips,
        mapping,
        estimators,
        step_seconds,
        active,
        pace,
        devices,
        weight_bits,
        queueing,
        placements,
    )


def simulate_workloads(
    workloads: Sequence[Workload],
    chips: Chips,
    mapping: str = "annealed",
    estimators: Sequence[str] = DEFAULT_ESTIMATORS,
    step_seconds: float | None = None,
    active: Mapping[str, SpikeRaster] | None = None,
    pace: str | None = None,
    devices: Sequence[Comparator] = DEFAULT_DEVICES,
    weight_bits: int | str | None = None,
    queueing: bool = False,
    placements: Placements | None = None,
) -> EnergyReport:
    """Maps and prices several samples of one network; figures are of the first, `spread` is over all.

    Args and errors are those of `simulate_workload`.
    """
    if not workloads:
        raise InputError("no sample was given", expected="at least one workload")
    profiles = [load_chip(chip) for chip in chips]  # before any work: a wrong name must not cost a minute
    first = workloads[0]
    if any(workload.network is not first.network for workload in workloads):
        raise InputError("the samples are of different networks", expected="one network for all samples")
    network = with_weight_bits(first.network, None if weight_bits is None else parse_width(weight_bits))
    if network is not first.network:
        workloads = [replace(workload, network=network) for workload in workloads]
        first = workloads[0]
    placements = {} if placements is None else placements
    per_sample = [
        _price_all(workload, profiles, mapping, step_seconds, active, pace, queueing, placements)
        for workload in workloads
    ]
    found = [estimate(name, first) for name in estimators]
    others = comparators_of([load_comparator(device) for device in devices], first)
    spiking, part_only = bool(first.network.neurons), bool(first.network.uncounted)
    return EnergyReport(
        network=first.network.name,
        sample=first.sample,
        samples=len(workloads),
        time_steps=first.time_steps,
        neurons=first.network.neuron_count,
        synapses=first.network.synapses,
        stored_weights=first.network.stored_weights,
        totals=first.totals(),
        layers=_layers(first),
        chips=tuple(per_sample[0]),
        estimators=tuple(found),
        verdict=spikes_per_synapse(first) if spiking and not part_only else None,
        comparison=(NO_VERDICT,) if part_only else compare(per_sample[0], others) if spiking else (),
        spread=_spread(per_sample),
        assumptions=_assumptions(first),
        uncounted=tuple(map(str, first.network.uncounted)),
        tool=f"neurokit {__version__}",
        comparators=others,
    )


def _price_all(
    workload: Workload,
    profiles: Sequence[HardwareProfile],
    strategy: str,
    step_seconds: float | None,
    active: Mapping[str, SpikeRaster] | None,
    pace: str | None,
    queueing: bool,
    placements: Placements,
) -> list[ChipReport]:
    tally = Tally(workload, active)
    counted: dict[tuple[object, ...], MappedCounts] = {}
    reports = []
    for profile in profiles:
        key, wiring = placed(placements, workload, profile, strategy)
        if key not in counted:
            counted[key] = count_on(wiring.mapping, tally, wiring)
        queued = queued_step_times(counted[key].mapping, tally, profile) if queueing and can_queue(profile) else None
        reports.append(price(counted[key], profile, step_seconds, pace, queued))
    return reports


def _layers(workload: Workload) -> tuple[LayerReport, ...]:
    rows = []
    for counts in workload.counts:
        spikes = () if (counts.spikes < 0).any() else tuple(counts.spikes.tolist())
        rows.append(
            LayerReport(
                counts.name,
                workload.network[counts.name].role,
                counts.size,
                spikes,
                tuple(counts.synaptic_events.tolist()),
                tuple(counts.graded_events.tolist()),
            )
        )
    return tuple(rows)


def _spread(per_sample: Sequence[Sequence[ChipReport]]) -> dict[str, Spread]:
    found = {}
    for column in zip(*per_sample, strict=True):
        totals = [entry.total.value for entry in column if entry.total is not None]
        if totals:
            found[column[0].chip] = spread_of(totals, "J")
    return found


def _assumptions(workload: Workload) -> tuple[str, ...]:
    notes = ["synaptic events, updates, packets and hops are exact counts of the recorded spikes, borders clipped"]
    if workload.totals()["graded_events"]:
        notes.append("values that are no spikes (a direct-coded image, a pooled mean) are counted as graded events")
    if any(projection.weights_are_floats for projection in workload.network.projections):
        notes.append(
            "weights are floats that nobody quantised yet: each chip takes them in its widest form (--weight-bits)"
        )
    if workload.totals()["product_operations"]:
        notes.append("attention products are counted by their non-zero terms and shared over cores by neurons")
    if not workload.network.neurons and not workload.network.uncounted:
        notes.append(
            "the model has no neurons, so there are no spikes to price on a chip; its dense pass is priced instead"
        )
    return tuple(notes)
