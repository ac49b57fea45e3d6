"""Counts of a workload as sums over blocks of neurons, so that any cut into cores is priced without counting again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.graph.block import Alike, BlockSums, Edges, fold, view_of
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster

Ints = NDArray[np.integer]

# Bytes of unpacked spikes and of sums over channels that are kept: a batch of a test set, not a long recording.
_MOST_KEPT = 1 << 27


class Tally:
    """Everything that pricing needs from a workload, each counted when it is first asked for.

    Args:
        workload: What was run.
        active: Which neurons were active in each step, by population, where that is known better than by "received
            an event" (a chip may also update a neuron whose membrane is not zero).

    Attributes:
        workload: The same.
        spikes: Spikes of each population that has a raster.
        events: Events through each projection at its targets.
        active: Active neurons of each population with a membrane.
    """

    def __init__(self, workload: Workload, active: Mapping[str, SpikeRaster] | None = None) -> None:
        self.workload = workload
        self.time_steps = workload.time_steps
        self._room = _MOST_KEPT
        self._unpacked: dict[str, NDArray[np.uint8]] = {}
        self._folded: dict[str, dict[Edges, Ints]] = {}
        self._forwarded: dict[str, BlockSums] = {}
        self._alike: dict[str, Ints] = {}
        network = workload.network
        self.spikes = {
            name: BlockSums(network[name].shape, partial(self.unpacked, name), partial(self.folded, name))
            for name in workload.rasters
        }
        self.events: dict[str, BlockSums] = {}
        self.active: dict[str, BlockSums] = {}
        for population in network.populations:
            for projection in network.into(population.name):
                if not self.is_shortcut(projection):
                    values, folded = partial(self._sent, projection), partial(self._arriving, projection)
                    self.events[projection.name] = BlockSums(population.shape, values, folded)
            if population.model is not None:
                given = (active or {}).get(population.name)
                self.active[population.name] = (
                    BlockSums(population.shape, given.unpack)
                    if given is not None
                    else BlockSums(population.shape, *self._reached(population.name))
                )

    def unpacked(self, name: str) -> NDArray[np.uint8]:
        """Returns what a population sent, 0 or 1, `[T, N]`."""
        found = self._unpacked.get(name)
        if found is None:
            found = self.workload.rasters[name].unpack()
            if found.nbytes <= self._room:
                self._unpacked[name] = found
                self._room -= found.nbytes
        return found

    def folded(self, name: str, edges: Edges) -> Ints:
        """Returns a population's spikes summed over ranges of channels, `[T, K, P]` (`graph.block.fold`)."""
        kept = self._folded.setdefault(name, {})
        if edges not in kept:
            for finer, sums in kept.items():
                if set(edges) <= set(finer):  # sums of sums: the neurons are read once
                    found = fold(sums, tuple(finer.index(edge) for edge in edges))
                    break
            else:
                values = self.unpacked(name)
                found = fold(values.reshape(len(values), *view_of(self.workload.network[name].shape)), edges)
            if found.base is not None or found.nbytes > self._room:
                return found
            kept[edges] = found
            self._room -= found.nbytes
        return kept[edges]

    def per_place(self, name: str) -> Ints:
        """Returns a population's spikes summed over all channels, `[T, P]`."""
        channels, _ = view_of(self.workload.network[name].shape)
        return self.folded(name, (0, channels))[:, 0]

    def step_events(self, projection: Projection) -> NDArray[np.int64]:
        """Returns the events through a projection in each step, `[T]`."""
        fan_out = projection.fan_out_by_place
        if fan_out is None or view_of(self.workload.network[projection.source].shape)[1] != len(fan_out):
            return projection.synaptic_events(self.unpacked(projection.source))
        return np.asarray(self.per_place(projection.source) @ fan_out, np.int64)

    def is_shortcut(self, projection: Projection) -> bool:
        """Whether real values, not spikes, are added one to one."""
        return projection.kind == "identity" and not self.workload.network[projection.source].binary

    def forwarded(self, projection: Projection) -> BlockSums:
        """Returns the events through a projection where pooling before it passes every single spike on."""
        if projection.name not in self._forwarded:
            shape = self.workload.network[projection.target].shape
            spikes = lambda: projection.events_per_target(self._pooled(projection.source))  # noqa: E731
            self._forwarded[projection.name] = BlockSums(shape, spikes)
        return self._forwarded[projection.name]

    def _pooled(self, name: str) -> Ints:
        """Returns how many spikes reach each value of a population through the poolings before it, `[T, N]`."""
        (into,) = self.workload.network.into(name) or (None,)
        if into is None or into.kind not in ("pool", "maxpool"):
            return self.unpacked(name)
        return into.events_per_target(self._pooled(into.source))

    def _sent(self, projection: Projection) -> Ints:
        """Returns the events of what is sent in each step, at the targets, `[T, N]`."""
        return projection.events_per_target(self.unpacked(projection.source))

    def _arriving(self, projection: Projection, edges: Edges) -> Ints | Alike | None:
        """Returns the events of what is sent, summed over ranges of target channels where the rule allows that."""
        if not self._in_place(projection):
            return None
        if projection.joins_all_channels:
            return Alike(self._of_each_channel(projection))
        if projection.keeps_channels:
            return projection.over_places(self.folded(projection.source, edges))
        return None

    def _of_each_channel(self, projection: Projection) -> Ints:
        """Returns the events at every place of a target channel, `[T, P]`, where all channels have the same."""
        if projection.name not in self._alike:
            self._alike[projection.name] = projection.over_places(self.per_place(projection.source)[:, None])[:, 0]
        return self._alike[projection.name]

    def _in_place(self, projection: Projection) -> bool:
        """Whether a rule's views are those of the two populations."""
        network = self.workload.network
        return (
            projection.source_index is None
            and projection.target_index is None
            and view_of(projection.source_shape) == view_of(network[projection.source].shape)
            and view_of(projection.target_shape) == view_of(network[projection.target].shape)
        )

    def _reached(self, name: str) -> tuple[Callable[[], Ints], Callable[[Edges], Ints | Alike | None]]:
        """Returns which neurons received anything, as values and as sums over ranges of channels."""
        network = self.workload.network
        _, places = view_of(network[name].shape)
        into = network.into(name)

        def values() -> Ints:
            reached = np.zeros((self.time_steps, network[name].size), np.bool_)
            for projection in into:
                if self.is_shortcut(projection):
                    reached |= projection.fan_in() > 0  # through a shortcut something always arrives
                else:
                    sent = self.unpacked(projection.source).astype(np.bool_)
                    reached |= projection.reached(projection.arriving(sent))  # a late event wakes when it arrives
            return reached.view(np.uint8)

        def folded(edges: Edges) -> Ints | Alike | None:
            every = np.zeros((self.time_steps, places), np.bool_)
            for projection in into:
                if self.is_shortcut(projection) and self._everywhere(projection):
                    return Alike(np.ones((self.time_steps, places), np.uint8))
            for projection in into:
                if self.is_shortcut(projection) or not (self._in_place(projection) and projection.joins_all_channels):
                    return None
                every |= projection.arriving(self._of_each_channel(projection)) > 0
            return Alike(every.view(np.uint8))

        return values, folded

    @staticmethod
    def _everywhere(projection: Projection) -> bool:
        return bool((projection.fan_in() > 0).all())
