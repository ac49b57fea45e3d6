"""From a recorded workload to the energy report: tally once, then map and price every chip."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from neurokit._version import __version__
from neurokit.errors import InputError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.estimators import estimate
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.mapping.mapper import map_network
from neurokit.hw_sim.pricing.cost import price
from neurokit.hw_sim.pricing.mapped_counts import MappedCounts, count_on
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.pricing.verdict import compare_with_ann, spikes_per_synapse
from neurokit.reports.energy import ChipReport, EnergyReport, LayerReport, Spread

DEFAULT_ESTIMATORS = ("sop", "lemaire2022", "yan2024", "dampfhoffer2023", "ann-int8", "ann-fp32")

Chips = Iterable[str | Path | HardwareProfile]


def simulate_workload(
    workload: Workload,
    chips: Chips,
    mapping: str = "annealed",
    estimators: Sequence[str] = DEFAULT_ESTIMATORS,
    step_seconds: float | None = None,
    active: Mapping[str, SpikeRaster] | None = None,
    pace: str | None = None,
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

    Raises:
        UnknownNameError: If a chip or estimator is unknown.
        InputError: If a chip file is damaged, or the workload has no time steps or nothing that spikes.
    """
    return simulate_workloads([workload], chips, mapping, estimators, step_seconds, active, pace)


def simulate_workloads(
    workloads: Sequence[Workload],
    chips: Chips,
    mapping: str = "annealed",
    estimators: Sequence[str] = DEFAULT_ESTIMATORS,
    step_seconds: float | None = None,
    active: Mapping[str, SpikeRaster] | None = None,
    pace: str | None = None,
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
    per_sample = [_price_all(workload, profiles, mapping, step_seconds, active, pace) for workload in workloads]
    found = [estimate(name, first) for name in estimators]
    baseline = estimate("ann-int8", first)
    spiking = bool(first.network.neurons)
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
        verdict=spikes_per_synapse(first) if spiking else None,
        comparison=compare_with_ann(per_sample[0], found, baseline) if spiking else (),
        spread=_spread(per_sample),
        assumptions=_assumptions(first),
        uncounted=tuple(map(str, first.network.uncounted)),
        tool=f"neurokit {__version__}",
    )


def _price_all(
    workload: Workload,
    profiles: Sequence[HardwareProfile],
    strategy: str,
    step_seconds: float | None,
    active: Mapping[str, SpikeRaster] | None,
    pace: str | None,
) -> list[ChipReport]:
    tally = Tally(workload, active)
    counted: dict[tuple[object, ...], MappedCounts] = {}
    reports = []
    for profile in profiles:
        key = (profile.limits, profile.topology)  # chips that differ in prices alone share a mapping and its counts
        if key not in counted:
            counted[key] = count_on(map_network(workload.network, profile, strategy, enforce=False), tally)
        reports.append(price(counted[key], profile, step_seconds, pace))
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
            deviation = statistics.stdev(totals) if len(totals) > 1 else 0.0
            found[column[0].chip] = Spread(
                statistics.fmean(totals), deviation, min(totals), max(totals), len(totals), "J"
            )
    return found


def _assumptions(workload: Workload) -> tuple[str, ...]:
    notes = ["synaptic events, updates, packets and hops are exact counts of the recorded spikes, borders clipped"]
    if workload.totals()["graded_events"]:
        notes.append("values that are no spikes (a direct-coded image, a pooled mean) are counted as graded events")
    if workload.totals()["product_operations"]:
        notes.append("attention products are counted by their non-zero terms and shared over cores by neurons")
    if not workload.network.neurons:
        notes.append(
            "the model has no neurons, so there are no spikes to price on a chip; its dense pass is priced instead"
        )
    return tuple(notes)
