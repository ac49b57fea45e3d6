"""Counts of a workload as sums over blocks of neurons, so that any cut into cores is priced without counting again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.graph.block import BlockSums
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.traffic.sender import Corners


class Tally:
    """Everything that pricing needs from a workload, counted once.

    Args:
        workload: What was run.
        active: Which neurons were active in each step, by population, where that is known better than by "received
            an event" (a chip may also update a neuron whose membrane is not zero).

    Attributes:
        workload: The same.
        spikes: Spikes of each population that has a raster.
        events: Events through each projection at its targets.
        active: Active neurons of each population with a membrane.
        corners: Sums over the spikes that mappings of this workload share.
    """

    def __init__(self, workload: Workload, active: Mapping[str, SpikeRaster] | None = None) -> None:
        self.workload = workload
        self.time_steps = workload.time_steps
        self.corners = Corners()
        network = workload.network
        self.spikes = {
            name: BlockSums.of(network[name].shape, raster.unpack) for name, raster in workload.rasters.items()
        }
        self.events: dict[str, BlockSums] = {}
        self.active: dict[str, BlockSums] = {}
        self._forwarded: dict[str, BlockSums] = {}
        for population in workload.network.populations:
            incoming = [p for p in workload.network.into(population.name) if not self.is_shortcut(p)]
            for projection in incoming:
                self.events[projection.name] = BlockSums.of(population.shape, self._arrivals(projection))
            if population.model is not None:
                given = (active or {}).get(population.name)
                self.active[population.name] = BlockSums.of(
                    population.shape,
                    given.unpack if given is not None else self._reached(population.name, population.size),
                )

    def is_shortcut(self, projection: Projection) -> bool:
        """Whether real values, not spikes, are added one to one."""
        return projection.kind == "identity" and not self.workload.network[projection.source].binary

    def forwarded(self, projection: Projection) -> BlockSums:
        """Returns the events through a projection where pooling before it passes every single spike on."""
        if projection.name not in self._forwarded:
            network = self.workload.network
            shape = network[projection.target].shape
            spikes = lambda: projection.events_per_target(self._pooled(projection.source))  # noqa: E731
            self._forwarded[projection.name] = BlockSums.of(shape, spikes)
        return self._forwarded[projection.name]

    def _pooled(self, name: str) -> NDArray[np.integer]:
        """Returns how many spikes reach each value of a population through the poolings before it, `[T, N]`."""
        (into,) = self.workload.network.into(name) or (None,)
        if into is None or into.kind not in ("pool", "maxpool"):
            return self.workload.rasters[name].unpack()
        return into.events_per_target(self._pooled(into.source))

    def _arrivals(self, projection: Projection) -> Callable[[], NDArray[np.integer]]:
        """Returns the events of what is sent in each step, at the targets."""
        return lambda: projection.events_per_target(self.workload.rasters[projection.source].unpack())

    def _reached(self, name: str, size: int) -> Callable[[], NDArray[np.integer]]:
        """Returns which neurons received anything; through a shortcut something always arrives."""

        def values() -> NDArray[np.integer]:
            reached = np.zeros((self.time_steps, size), np.uint8)
            for projection in self.workload.network.into(name):
                if self.is_shortcut(projection):
                    reached |= (projection.fan_in() > 0).astype(np.uint8)
                else:
                    sent = self.workload.rasters[projection.source].unpack()  # a late event wakes when it arrives
                    reached |= (projection.events_per_target(projection.arriving(sent)) > 0).astype(np.uint8)
            return reached

        return values
