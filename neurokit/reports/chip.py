"""A workload on one chip: its layers, cores and links, energy, time, and what was not priced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neurokit.quantity import Quantity

Status = Literal["priced", "lower-bound", "refused"]


@dataclass(frozen=True)
class LayerReport:
    """Activity of one population.

    Attributes:
        name: Module path.
        role: "input", "neuron", "current", "relay" or "product".
        size: Neurons (or values).
        spikes: Spikes in each time step; empty where nothing was recorded.
        synaptic_events: Synaptic events into it in each time step.
        graded_events: Events that carry a value and cost a multiplication, in each time step.
    """

    name: str
    role: str
    size: int
    spikes: tuple[int, ...]
    synaptic_events: tuple[int, ...]
    graded_events: tuple[int, ...]

    @property
    def rates(self) -> tuple[float, ...]:
        """Spikes for each neuron in each time step."""
        return tuple(count / self.size for count in self.spikes)


@dataclass(frozen=True)
class CoreReport:
    """One core in use.

    Attributes:
        core: Number, counted over all chips.
        x: Column of its tile on the mesh.
        y: Row of its tile.
        layers: Populations on it.
        neurons: Neurons (or values) on it.
        load: Largest share of any limit that it uses, or None where the chip states none.
        events: Synaptic events it processes over the run.
    """

    core: int
    x: int
    y: int
    layers: tuple[str, ...]
    neurons: int
    load: float | None
    events: int


@dataclass(frozen=True)
class LinkReport:
    """One mesh link that carries packets.

    Attributes:
        x: Column of the tile it leaves.
        y: Row of that tile.
        way: "east", "west", "north" (towards larger y) or "south".
        packets: Packets over the run.
    """

    x: int
    y: int
    way: str
    packets: int


@dataclass(frozen=True)
class LatencyReport:
    """Time of the simulated run.

    Attributes:
        steps: Time of each time step in seconds, best estimate.
        inference: Time of the whole run.
        p50: Median over steps, in seconds.
        p99: 99th percentile over steps, in seconds.
        bound_by: What sets each step: "synapses", "neurons", "links", "clock".
        sources: Where the times are from.
    """

    steps: tuple[float, ...]
    inference: Quantity
    p50: float
    p99: float
    bound_by: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class ChipReport:
    """A workload on one chip.

    Attributes:
        chip: Name of the chip.
        title: Name in tables.
        status: "priced"; "lower-bound": something used has no price, or part of the network is in no count;
            "refused": no joules can be given.
        fits: Whether the chip can hold the network; if not, all figures suppose that it could.
        violations: Every limit that the network breaks, with the nearest change that fits.
        strategy: Mapping strategy.
        chips: Chips in use.
        cores: Cores in use.
        total: Energy of one run (one sample), or None if refused.
        components: Energy by component: synapse, neuron, routing, memory, static.
        layers: Dynamic energy by population, best estimate, in joules, by component.
        steps: Energy of each time step in joules, best estimate.
        core_map: Every core in use.
        core_energy: Dynamic energy of each of these cores in joules, best estimate; empty if refused.
        links: Every mesh link in use.
        latency: Time, or None where the chip has no published times.
        counts: Count by term over the run.
        unpriced: What is used and has no price, with its count.
        assumptions: What was assumed on the way.
        warnings: What the chip's file says a reader must know.
        sources: Where each price used is from, with its basis.
    """

    chip: str
    title: str
    status: Status
    fits: bool
    violations: tuple[str, ...]
    strategy: str
    chips: int
    cores: int
    total: Quantity | None
    components: dict[str, Quantity]
    layers: dict[str, dict[str, float]]
    steps: tuple[float, ...]
    core_map: tuple[CoreReport, ...]
    core_energy: tuple[float, ...]
    links: tuple[LinkReport, ...]
    latency: LatencyReport | None
    counts: dict[str, int]
    unpriced: tuple[str, ...]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    sources: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ChipReport({self.chip!r}: {self.headline()}, {self.cores} cores)"

    def headline(self) -> str:
        """Returns the total as one phrase that cannot be misread."""
        if self.total is None:
            return "refused: no price"
        text = self.total.text()
        text = f"at least {text}" if self.status == "lower-bound" else text
        return text if self.fits else f"{text} (if it fitted)"
