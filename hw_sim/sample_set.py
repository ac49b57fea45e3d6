"""A test set: mapped once, counted and priced in batches, and what was done is kept when a run is interrupted."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.pricing.cost import step_figures
from neurokit.hw_sim.pricing.mapped_counts import MappedCounts, count_on
from neurokit.hw_sim.pricing.queueing import can_queue, queued_step_times
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.pricing.wiring import Placements, placed
from neurokit.reports.energy import SetReport, Spread

Row = dict[str, float]
_UNITS = {"energy": "J", "latency": "s", "events": "", "spikes": ""}


@dataclass
class SetPricer:
    """Prices batches of samples of one network on every chip.

    Attributes:
        first: The first sample: its network is what all samples run on.
        profiles: Chips.
        strategy: Mapping strategy.
        step_seconds: Time between two inputs, where a sensor sets the pace.
        pace: Who sets it otherwise.
        queueing: Whether packets wait for each other.
        fired: Spikes of each population over all samples.
        placements: Mappings that are known already, of the same strategy; those that are made are added.
    """

    first: Workload
    profiles: Sequence[HardwareProfile]
    strategy: str
    step_seconds: float | None = None
    pace: str | None = None
    queueing: bool = False
    fired: dict[str, int] = field(default_factory=dict)
    placements: Placements = field(default_factory=dict)

    def rows(self, batch: Workload, many: int) -> list[Row]:
        """Returns figures of each of `many` samples that lie one after the other in a workload."""
        steps = batch.time_steps // many
        figures: dict[str, NDArray[np.float64]] = {}
        tally, network = Tally(batch), batch.network
        spiking = [p for p in network.projections if network[p.source].binary and not tally.is_shortcut(p)]
        events = sum((tally.step_events(projection) for projection in spiking), np.zeros(batch.time_steps, np.int64))
        figures["events"] = events.reshape(many, steps).sum(axis=1).astype(float)
        fired = [batch.rasters[p.name] for p in batch.network.neurons]
        spikes = sum((raster.per_step() for raster in fired), np.zeros(batch.time_steps, np.int64))
        figures["spikes"] = spikes.reshape(many, steps).sum(axis=1).astype(float)
        for population, raster in zip(batch.network.neurons, fired, strict=True):
            self.fired[population.name] = self.fired.get(population.name, 0) + raster.count
        figures |= self._priced(batch, tally, many, steps)
        return [{name: float(values[k]) for name, values in figures.items()} for k in range(many)]

    def _priced(self, batch: Workload, tally: Tally, many: int, steps: int) -> dict[str, NDArray[np.float64]]:
        if not self.profiles:
            return {}
        counted: dict[tuple[object, ...], MappedCounts] = {}
        figures = {}
        for profile in self.profiles:
            key, wiring = placed(self.placements, batch, profile, self.strategy)
            if key not in counted:
                counted[key] = count_on(wiring.mapping, tally, wiring)
            waits = self.queueing and can_queue(profile)
            queued = queued_step_times(wiring.mapping, tally, profile) if waits else None
            joules, seconds = step_figures(counted[key], profile, self.step_seconds, self.pace, queued)
            if joules is not None:
                totals = joules.reshape(many, steps).sum(axis=1)
                reset = profile.prices.get("reset_chip")  # once an inference; one run of all books it once
                totals[1:] += reset.value * wiring.mapping.chips if reset is not None else 0.0
                figures[f"energy {profile.name}"] = totals
            if seconds is not None:
                figures[f"latency {profile.name}"] = seconds.reshape(many, steps).sum(axis=1)
        return figures


def run_set(
    pricer: SetPricer,
    batches: Iterable[tuple[list[str], Workload]],
    total: int,
    done: Sequence[Row] = (),
    keep: Callable[[Sequence[Row], Mapping[str, int]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SetReport:
    """Prices every batch and returns the figures over all samples.

    An interrupt (Ctrl-C) ends the run early: the report then says of how many samples it is.

    Args:
        pricer: What prices a batch.
        batches: Names and workload of each batch.
        total: Samples asked for.
        done: Figures of samples that an interrupted run has done before.
        keep: Told the figures of every batch, and the spikes so far.
        progress: Told how many samples are done, of how many.
    """
    rows = list(done)
    try:
        for names, batch in _ahead(batches):
            more = pricer.rows(batch, len(names))
            rows += more
            if keep is not None:
                keep(more, pricer.fired)
            if progress is not None:
                progress(len(rows), total)
    except KeyboardInterrupt:
        if not rows:
            raise
    return set_report(rows, pricer, total)


def _ahead(batches: Iterable[tuple[list[str], Workload]]) -> Iterator[tuple[list[str], Workload]]:
    """Yields batches, the next of which is run while one is counted and priced: both leave Python for most of it."""
    rest = iter(batches)
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, rest, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, rest, None)
            yield batch


def set_report(rows: Sequence[Row], pricer: SetPricer, total: int) -> SetReport:
    """Returns mean, spread and interval of every figure over samples."""
    found: dict[str, dict[str, Spread]] = {kind: {} for kind in _UNITS}
    for name in rows[0]:
        kind, _, chip = name.partition(" ")
        found[kind][chip] = spread_of([row[name] for row in rows], _UNITS[kind])
    steps = pricer.first.time_steps * len(rows)
    rates = {p.name: pricer.fired.get(p.name, 0) / (p.size * steps) for p in pricer.first.network.neurons}
    return SetReport(
        len(rows), total, found["energy"], found["latency"], found["events"][""], found["spikes"][""], rates
    )


def spread_of(values: Sequence[float], unit: str) -> Spread:
    """Returns the spread of a figure over samples, with the 95 % interval of its mean (Student's t)."""
    mean, many = statistics.fmean(values), len(values)
    deviation = statistics.stdev(values) if many > 1 else 0.0
    half = student(many - 1) * deviation / math.sqrt(many) if many > 1 else 0.0
    return Spread(mean, deviation, min(values), max(values), many, unit, mean - half, mean + half)


def student(freedom: int) -> float:
    """Returns the 97.5 % point of Student's t, by the expansion of G. W. Hill (1970, Eq. 1) from three degrees on."""
    if freedom < 3:
        return {1: 12.7062, 2: 4.30265}[freedom]
    z = statistics.NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


class Kept:
    """The figures of samples that are done, one line a batch, so that an interrupted run can go on.

    Args:
        path: The file; it is removed by `close`.
        key: What is run: a file of another run is not used.
    """

    def __init__(self, path: Path, key: Mapping[str, object]) -> None:
        self.path, self._key = path, json.dumps(key, sort_keys=True)
        self.rows: list[Row] = []
        self.fired: dict[str, int] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        except ValueError:  # no text: it is not a file of this run
            lines = []
        if not lines or lines[0] != self._key:
            path.write_text(self._key + "\n", encoding="utf-8")
            return
        whole = [self._key]
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                rows, fired = list(entry["rows"]), dict(entry["fired"])
            except (ValueError, LookupError, TypeError, RecursionError):
                break  # the line that was being written, or a damaged one: from there on samples are run again
            self.rows += rows
            self.fired = fired
            whole.append(line)
        path.write_text("\n".join(whole) + "\n", encoding="utf-8")

    def add(self, rows: Sequence[Row], fired: Mapping[str, int]) -> None:
        """Keeps the figures of one batch."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"rows": list(rows), "fired": dict(fired)}) + "\n")

    def close(self) -> None:
        """Removes the file: the report holds everything."""
        self.path.unlink(missing_ok=True)
