"""The energy report: what was run, what it costs on each chip, what was not priced, and where each number is from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from neurokit.atomic import write_text
from neurokit.errors import InputError
from neurokit.plain import first_fault
from neurokit.quantity import Quantity
from neurokit.reports.chip import ChipReport, CoreReport, LatencyReport, LayerReport, LinkReport, Status

__all__ = [
    "ChipReport",
    "ComparatorReport",
    "CoreReport",
    "EnergyReport",
    "EstimatorReport",
    "EventCheck",
    "LatencyReport",
    "LayerReport",
    "LinkReport",
    "SetReport",
    "Spread",
    "Status",
    "Verdict",
]


@dataclass(frozen=True)
class EstimatorReport:
    """An energy by a named rule of the literature, independent of any chip's mapping.

    Attributes:
        name: Name of the estimator.
        title: What it is.
        total: Energy of one run.
        parts: Its terms.
        source: Where its equations are from.
        notes: Choices, errata and limits.
        at_least: Whether part of the network is in no count, so that the total is a lower bound.
    """

    name: str
    title: str
    total: Quantity
    parts: dict[str, float]
    source: str
    notes: tuple[str, ...] = ()
    at_least: bool = False

    def headline(self) -> str:
        """Returns the total as one phrase that cannot be misread."""
        return f"at least {self.total.text()}" if self.at_least else self.total.text()


@dataclass(frozen=True)
class ComparatorReport:
    """The same network without spikes on a device that anybody can buy.

    Attributes:
        name: Name of the device, or of the file that measured it.
        title: Name in tables.
        total: Energy of one dense pass.
        precision: Numbers that the device was measured with.
        note: How the figure comes about.
        at_least: Whether part of the network is in no count.
    """

    name: str
    title: str
    total: Quantity
    precision: str
    note: str
    at_least: bool = False

    def headline(self) -> str:
        """Returns the total as one phrase that cannot be misread."""
        return f"at least {self.total.text()}" if self.at_least else self.total.text()


@dataclass(frozen=True)
class Verdict:
    """Whether spiking pays, by spikes for each synapse and inference.

    Attributes:
        spikes_per_synapse: Synaptic events for each synapse over the run.
        threshold: Below this a spiking network can be cheaper than the same network without spikes.
        passes: Whether it is below.
        text: One sentence.
        source: Where the threshold is from.
    """

    spikes_per_synapse: float
    threshold: float
    passes: bool
    text: str
    source: str


@dataclass(frozen=True)
class Spread:
    """A figure over several samples.

    Attributes:
        mean: Mean.
        deviation: Sample standard deviation (0 for one sample).
        smallest: Smallest.
        largest: Largest.
        samples: Number of samples.
        unit: Unit.
        low: Lower end of the mean's 95 % interval.
        high: Upper end of it.
    """

    mean: float
    deviation: float
    smallest: float
    largest: float
    samples: int
    unit: str
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class SetReport:
    """Figures over a test set; each is of one inference, with mean, deviation and the mean's 95 % interval.

    Attributes:
        samples: Samples that were run.
        asked: Samples that were asked for; more than `samples` where the run was interrupted.
        energy: By chip, in joules, best estimates of the prices.
        latency: By chip, in seconds.
        events: Synaptic events.
        spikes: Spikes.
        rates: Spikes for each neuron and step, by layer.
    """

    samples: int
    asked: int
    energy: dict[str, Spread]
    latency: dict[str, Spread]
    events: Spread
    spikes: Spread
    rates: dict[str, float]


@dataclass(frozen=True)
class EventCheck:
    """What the event engine found when it computed the network once more from events alone.

    Attributes:
        decisions: Spike decisions (neurons times steps) that were compared with torch's.
        differing: Decisions that differ.
        events: Synaptic events that were routed.
        seconds: Time of the engine, measured, compilation included where nothing was compiled before.
        layers: Layers with a difference.
    """

    decisions: int
    differing: int
    events: int
    seconds: float
    layers: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The finding in one line."""
        found = "all as in torch" if not self.differing else f"{self.differing} differ, first in {self.layers[0]}"
        return f"computed again from {self.events} events alone: {self.decisions} spike decisions, {found}"


@dataclass(frozen=True)
class EnergyReport:
    """Everything that is known of a workload's energy and latency.

    Attributes:
        network: Name of the model.
        sample: What was run.
        samples: Number of samples; details below are of the first, `spread` and `test_set` are over all.
        time_steps: T.
        neurons: Neurons of the network.
        synapses: Connections.
        stored_weights: Different weights.
        totals: Counts over the run.
        layers: Activity of every population.
        chips: One entry a chip.
        estimators: One entry a named estimator.
        verdict: Spikes for each synapse, judged.
        comparison: How the network compares with the same network without spikes on measured devices, in words.
        spread: Total energy over samples, by chip.
        assumptions: What was assumed for all chips.
        uncounted: Parts of the model that are in no count.
        tool: Name and version of what made the report.
        event_check: What computing it once more from events alone found, if that was asked for.
        comparators: The same network without spikes on measured devices.
        test_set: Figures over all samples, where there are several.
        unsound: What makes the figures those of no network in use (random weights, generated input); there is no
            verdict and no comparison then.
    """

    network: str
    sample: str
    samples: int
    time_steps: int
    neurons: int
    synapses: int
    stored_weights: int
    totals: dict[str, int]
    layers: tuple[LayerReport, ...]
    chips: tuple[ChipReport, ...]
    estimators: tuple[EstimatorReport, ...]
    verdict: Verdict | None
    comparison: tuple[str, ...]
    spread: dict[str, Spread]
    assumptions: tuple[str, ...]
    uncounted: tuple[str, ...]
    tool: str
    event_check: EventCheck | None = None
    comparators: tuple[ComparatorReport, ...] = ()
    test_set: SetReport | None = None
    unsound: tuple[str, ...] = ()

    @property
    def lower_bound(self) -> bool:
        """Whether part of the network is in no count: then every total is a lower bound, and no verdict rests on it."""
        return bool(self.uncounted)

    @property
    def interrupted(self) -> bool:
        """Whether a run over samples ended before all of them were done."""
        return self.test_set is not None and self.test_set.samples < self.test_set.asked

    def chip(self, name: str) -> ChipReport:
        """Returns the entry of one chip.

        Raises:
            InputError: If the report has no such chip.
        """
        for entry in self.chips:
            if entry.chip == name:
                return entry
        raise InputError(f"the report has no chip {name!r}", expected="one of " + ", ".join(c.chip for c in self.chips))

    def __repr__(self) -> str:
        chips = ", ".join(chip.chip for chip in self.chips) or "no chip"
        return f"EnergyReport({self.network!r}, {self.samples} samples, T={self.time_steps}, on {chips})"

    def total_of(self, chip: ChipReport) -> Quantity | None:
        """Returns a chip's energy with the interval of its prices: of several samples their mean."""
        over = self.test_set.energy.get(chip.chip) if self.test_set else None
        if over is None or chip.total is None or not chip.total.value:
            return chip.total
        return chip.total.scaled(over.mean / chip.total.value)

    def headline(self, chip: ChipReport) -> str:
        """Returns a chip's energy as one phrase: of several samples their mean, not the first of them.

        The brackets hold the interval of the prices; how much samples differ stands beside it.
        """
        over = self.test_set.energy.get(chip.chip) if self.test_set else None
        if over is None or chip.total is None:
            return chip.headline()
        mean = replace(chip, total=self.total_of(chip)).headline()
        ends = " to ".join(Quantity.exact(end, over.unit, "simulated", "").text() for end in (over.low, over.high))
        spread = Quantity.exact(over.deviation, over.unit, "simulated", "").text()
        return f"{mean}, mean of {over.samples} samples (its 95 % interval {ends}, standard deviation {spread})"

    def to_json(self) -> dict[str, Any]:
        """Returns the report as a JSON object."""
        return asdict(self)

    def save_json(self, path: str | Path) -> Path:
        """Writes the report as JSON, whole or not at all."""
        write_text(Path(path), TypeAdapter(EnergyReport).dump_json(self, indent=1).decode() + "\n")
        return Path(path)

    @classmethod
    def from_json(cls, data: dict[str, Any] | str | bytes) -> EnergyReport:
        """Returns the report that `to_json` or `save_json` wrote.

        Raises:
            InputError: If it is no such report; the message names the field.
        """
        adapter = TypeAdapter(EnergyReport)
        try:
            return adapter.validate_python(data) if isinstance(data, dict) else adapter.validate_json(data)
        except ValidationError as error:
            place, said = first_fault(error)
            raise InputError(f"not an energy report: field {place}: {said}") from None
