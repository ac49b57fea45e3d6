"""Runs an integer network from events alone and counts what it routes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.engine.bounds import Bounds, integer_type
from neurokit.hw_sim.engine.integer import IntegerNetwork
from neurokit.hw_sim.engine.layout import Layout, population_layout
from neurokit.hw_sim.engine.plan import ROUTED, Plan, Value
from neurokit.hw_sim.engine.route import Route, build_route
from neurokit.hw_sim.graph.network import Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster


@dataclass(frozen=True)
class EngineRun:
    """What one run gave.

    Attributes:
        rasters: Spikes by population, for the populations that were recorded.
        currents: Integers of the other recorded populations, `[T, N]`.
        events: Events through each projection in each step, `[T]`, counted while they were routed.
    """

    rasters: Mapping[str, SpikeRaster]
    currents: Mapping[str, NDArray[np.int64]]
    events: Mapping[str, NDArray[np.int64]]

    @property
    def synaptic_events(self) -> int:
        """All events, over projections and steps."""
        return sum(int(events.sum()) for events in self.events.values())


class Engine:
    """An event-driven engine for one integer network: build once, run many times.

    Spikes, membranes and currents are exact integers; the result does not depend on the number of threads.

    Args:
        net: The network and its integers.
        time_steps: T of the runs; bounds how far membranes can go.
        threads: Threads to use. More than one pays on an idle machine; on a busy one they wait for each other, and
            OpenMP waits by spinning (OMP_WAIT_POLICY=passive in the environment avoids that).

    Raises:
        UnsupportedError: If the network holds something that cannot be run, or needs more than 63 bits.
    """

    def __init__(self, net: IntegerNetwork, time_steps: int, threads: int = 1) -> None:
        if time_steps < 1:
            raise InputError(f"time_steps is {time_steps}", expected="a whole number >= 1")
        self.net = net
        self.time_steps = time_steps
        self.threads = max(1, min(threads, _cores()))
        network = net.network
        self.layouts = {p.name: population_layout(network, p) for p in network.populations}
        self.routes = {p.name: self._route(p) for p in network.projections if p.kind in ROUTED}
        self.bounds = Bounds(net, self.routes, time_steps)
        self._plans = {p.name: Plan(self, p) for p in network.populations if p.role != "input"}

    def run(self, inputs: Mapping[str, NDArray[Any] | SpikeRaster], record: Iterable[str] | None = None) -> EngineRun:
        """Runs one sample.

        Args:
            inputs: For each input population its spikes or integers, `[T, N]` or `[T, *shape]`.
            record: Populations whose values are wanted; None: every neuron population and every output.

        Returns:
            Spikes, currents and counted events.

        Raises:
            InputError: If an input is missing, has another shape, is no integer or exceeds its bound.
        """
        import numba

        network = self.net.network
        wanted = self._wanted(record)
        rasters: dict[str, SpikeRaster] = {}
        currents: dict[str, NDArray[np.int64]] = {}
        events: dict[str, NDArray[np.int64]] = {}
        values: dict[str, Value] = {}
        threads_before = numba.get_num_threads()
        numba.set_num_threads(min(self.threads, numba.config.NUMBA_NUM_THREADS))
        try:
            for place, population in enumerate(network.populations):
                name = population.name
                if population.role == "input":
                    values[name] = self._input(population, inputs)
                else:
                    values[name] = self._plans[name].compute(values, events)
                if name in wanted:
                    if population.binary:
                        rasters[name] = values[name].raster()
                    else:
                        currents[name] = self.layouts[name].outward(values[name].dense).astype(np.int64)
                for done in self._last_use.get(place, ()):
                    values.pop(done, None)
        finally:
            numba.set_num_threads(threads_before)
        return EngineRun(rasters, currents, events)

    @property
    def bytes_per_synapse(self) -> float:
        """Bytes of weights, tables and neuron parameters that are held for each connection of the network."""
        held = sum(route.nbytes for route in self.routes.values()) + sum(p.nbytes for p in self._plans.values())
        return held / max(1, self.net.network.synapses)

    @cached_property
    def _last_use(self) -> dict[int, list[str]]:
        """Which populations are no longer needed once a place in the order has been computed."""
        network = self.net.network
        order = {p.name: place for place, p in enumerate(network.populations)}
        last = dict(order)
        for p in network.projections:
            last[p.source] = max(last[p.source], order[p.target])
        for product in network.products:
            for operand in (product.left, product.right):
                last[operand] = max(last[operand], order[product.target])
        done: dict[int, list[str]] = {}
        for name, place in last.items():
            done.setdefault(place, []).append(name)
        return done

    def _route(self, projection: Projection) -> Route:
        numbers = self.net.projection(projection.name)
        source, target = self.layouts[projection.source], self.layouts[projection.target]
        return build_route(projection, numbers.weight, numbers.shift, source, target, 2 * self.threads)

    def _wanted(self, record: Iterable[str] | None) -> set[str]:
        network = self.net.network
        if record is None:
            return {p.name for p in network.neurons} | set(network.outputs)
        wanted = set(record)
        for name in wanted - {p.name for p in network.populations}:
            raise InputError(f"cannot record {name!r}", expected="the name of a population")
        return wanted

    def _input(self, population: Population, inputs: Mapping[str, NDArray[Any] | SpikeRaster]) -> Value:
        name, layout = population.name, self.layouts[population.name]
        if name not in inputs:
            raise InputError(f"input {name!r} is missing", expected=f"{self.time_steps} x {population.shape}")
        given = inputs[name]
        array = given.unpack() if isinstance(given, SpikeRaster) else np.asarray(given)
        shapes = ((self.time_steps, population.size), (self.time_steps, *population.shape))
        if array.shape not in shapes:
            raise InputError(f"input {name!r} has shape {array.shape}", expected=f"{shapes[0]} or {shapes[1]}")
        if array.dtype.kind not in "biu":
            raise InputError(f"input {name!r} is {array.dtype}", expected="spikes or integers on the input's grid")
        bound = self.bounds.of[name]
        if array.dtype != np.bool_ and array.size and max(int(array.max()), -int(array.min())) > bound:
            raise InputError(f"input {name!r} holds values beyond its bound {bound}")
        inner = _spikes_inward(array, layout) if population.binary else layout.inward(array.astype(integer_type(bound)))
        return Value(inner.reshape(self.time_steps, layout.rows, -1), layout)


def _spikes_inward(array: NDArray[Any], layout: Layout) -> NDArray[np.uint8]:
    """Returns spikes in inner order; of sparse ones only the spikes are moved."""
    from neurokit.hw_sim.engine import kernels

    spikes = np.ascontiguousarray(array)
    spikes = spikes.view(np.uint8) if array.dtype == np.bool_ else spikes.astype(np.uint8)
    if not layout.channels_first:
        return layout.inward(spikes)
    inner = np.zeros((len(spikes), layout.rows * layout.width, layout.channels), np.uint8)
    kernels.channels_last(spikes.reshape(len(spikes), layout.channels, -1), inner)
    return inner


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
