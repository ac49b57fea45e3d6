"""Exact event counts of a network on one sample: counted once, priced many times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.graph.network import Network, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster

Steps = NDArray[np.int64]


@dataclass(frozen=True)
class MemoryAccess:
    """Reads and writes of one kind of memory by one layer.

    Attributes:
        what: "weight", "accumulator" (the sum of one step), "membrane" or "spike".
        bits: Width of a word.
        reads: Words read in each time step, `[T]`.
        writes: Words written in each time step, `[T]`.
    """

    what: str
    bits: int
    reads: Steps
    writes: Steps


@dataclass(frozen=True)
class LayerCounts:
    """What one population receives, does and sends in each time step (all `[T]`, exact integers).

    Attributes:
        name: Name of the population.
        size: Its neurons.
        synaptic_events: Connections crossed by a spike into this population: one addition each.
        graded_events: Connections crossed by a non-zero value that is no spike (a direct-coded image, a pooled
            mean): one multiplication and addition each.
        shortcut_adds: Values added by identity projections from real-valued populations (membrane shortcuts).
        product_operations: Terms of activation times activation products with both factors non-zero.
        neuron_updates: Neurons whose dynamics are computed, each step all of them; 0 without a neuron model.
        spikes: Spikes (of a population that is not binary: non-zero values) sent; -1 where nothing was recorded.
        events_by_projection: Events through each projection into it, spikes and graded alike.
        memory: Reads and writes with their widths.
    """

    name: str
    size: int
    synaptic_events: Steps
    graded_events: Steps
    shortcut_adds: Steps
    product_operations: Steps
    neuron_updates: Steps
    spikes: Steps
    events_by_projection: Mapping[str, Steps] = field(default_factory=dict)
    memory: tuple[MemoryAccess, ...] = ()


@dataclass(frozen=True)
class Workload:
    """A network and what every population sent on one sample: what mapping and pricing consume.

    Attributes:
        network: The layer graph.
        rasters: Spikes by population name, for every neuron population, source of a projection and operand of a
            product; real-valued sources of shortcuts need none.
        sample: What was run, for reports.
        inputs: Numbers of the input populations, `[T, N]`, for the event engine.

    Raises:
        InputError: If a raster is missing or its shape differs from the population's.
    """

    network: Network
    rasters: Mapping[str, SpikeRaster]
    sample: str = ""
    inputs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = {raster.time_steps for raster in self.rasters.values()}
        if len(steps) != 1 or steps == {0}:
            raise InputError(
                f"the rasters of {self.network.name!r} have {sorted(steps)} time steps",
                expected="one equal number >= 1",
            )
        for name in sorted(self._needed()):
            if name not in self.rasters:
                raise InputError(f"no spikes were recorded for {name!r}", expected="a raster for every source")
            if self.rasters[name].neurons != self.network[name].size:
                raise InputError(
                    f"the raster of {name!r} has {self.rasters[name].neurons} neurons",
                    expected=f"{self.network[name].size}",
                )

    @property
    def time_steps(self) -> int:
        """T."""
        return next(iter(self.rasters.values())).time_steps

    @cached_property
    def counts(self) -> tuple[LayerCounts, ...]:
        """The counts of every population in the network's order."""
        return tuple(self._count(population) for population in self.network.populations)

    def totals(self) -> dict[str, int]:
        """Returns each count summed over populations and time steps."""
        names = ("synaptic_events", "graded_events", "shortcut_adds", "product_operations", "neuron_updates")
        totals = {name: sum(int(getattr(c, name).sum()) for c in self.counts) for name in names}
        totals["spikes"] = sum(self.rasters[p.name].count for p in self.network.neurons)
        return totals

    def events(self, projection: Projection) -> Steps:
        """Returns the events through one projection in each time step, `[T]`."""
        return self._events[projection.name]

    def spikes_per_synapse(self) -> float:
        """Returns synaptic events for each connection over the whole sample (graded events and shortcuts left out)."""
        used = [p for p in self.network.projections if self.network[p.source].binary and p.kind != "identity"]
        synapses = sum(p.synapses for p in used)
        return sum(int(self.events(p).sum()) for p in used) / synapses if synapses else 0.0

    @cached_property
    def _events(self) -> dict[str, Steps]:
        events: dict[str, Steps] = {}
        for source in self.network.populations:
            outgoing = [p for p in self.network.out_of(source.name) if not self._is_shortcut(p)]
            if outgoing:
                spikes = self.rasters[source.name].unpack()  # one population at a time: bits stay packed
                events |= {p.name: p.synaptic_events(spikes) for p in outgoing}
        return events

    def _is_shortcut(self, projection: Projection) -> bool:
        """Whether real values are added one to one: every value counts, zero or not, so no raster is needed."""
        return projection.kind == "identity" and not self.network[projection.source].binary

    def _needed(self) -> set[str]:
        network = self.network
        operands = {name for product in network.products for name in (product.left, product.right)}
        sources = {p.source for p in network.projections if not self._is_shortcut(p)}
        return operands | sources | {p.name for p in network.neurons}

    def _count(self, population: Population) -> LayerCounts:
        zero = np.zeros(self.time_steps, np.int64)
        synaptic, graded, shortcut, products = zero.copy(), zero.copy(), zero.copy(), zero.copy()
        by_projection, memory = {}, []
        for p in self.network.into(population.name):
            if self._is_shortcut(p):
                shortcut += p.synapses
                continue
            crossed = by_projection[p.name] = self.events(p)
            if self.network[p.source].binary:
                synaptic += crossed
            else:
                graded += crossed
            if p.kind in ("conv", "linear"):
                memory.append(MemoryAccess("weight", p.weight_bits, crossed, zero))
        for product in self.network.products_into(population.name):
            products += product.operations(self.rasters[product.left].unpack(), self.rasters[product.right].unpack())
        updates = zero if population.model is None else zero + population.size
        raster = self.rasters.get(population.name)
        spikes = zero - 1 if raster is None else raster.per_step()
        added = synaptic + graded + shortcut + products
        memory += _state_accesses(population, added, updates, zero, spikes if raster is not None else zero)
        return LayerCounts(
            population.name,
            population.size,
            synaptic,
            graded,
            shortcut,
            products,
            updates,
            spikes,
            by_projection,
            tuple(memory),
        )


def _state_accesses(
    population: Population, added: Steps, updates: Steps, zero: Steps, spikes: Steps
) -> list[MemoryAccess]:
    """Returns the accesses to a population's own state.

    Each addition reads and writes one accumulator; each neuron update reads its accumulator and reads and writes its
    membrane; each spike writes one bit.
    """
    bits = population.model.state_bits if population.model else 16
    accesses = []
    if added.any() or updates.any():
        accesses.append(MemoryAccess("accumulator", bits, added + updates, added))
    if updates.any():
        accesses.append(MemoryAccess("membrane", bits, updates, updates))
    if population.binary and spikes.any():
        accesses.append(MemoryAccess("spike", 1, zero, spikes))
    return accesses
