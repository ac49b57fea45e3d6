"""How the event engine computes one population: which projection carries its neurons, what is added before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurokit.hw_sim.engine.arrive import Add, Multiply, Value, add_at
from neurokit.hw_sim.engine.bounds import integer_type
from neurokit.hw_sim.engine.integer import IntegerPopulation
from neurokit.hw_sim.engine.route import Route
from neurokit.hw_sim.graph.network import Population

if TYPE_CHECKING:
    from neurokit.hw_sim.engine.run import Engine

# Channel by channel all channels of a place are added at once: that pays from so many of them and from this share of
# values that are not zero.
_CHANNELS, _DENSE = 16, 0.02

ROUTED = ("conv", "linear", "pool")


class Plan:
    """How one population is computed."""

    def __init__(self, engine: Engine, population: Population) -> None:
        net = engine.net
        self.population = population
        self.layout = engine.layouts[population.name]
        self.numbers = net.population(population.name)
        self.steps = engine.time_steps
        self.dtype = integer_type(engine.bounds.sum[population.name])
        projections = net.network.into(population.name)
        self.routes = [engine.routes[p.name] for p in projections if p.kind in ROUTED]
        # The last route that writes this population as it is also advances its neurons.
        direct = [route for route in self.routes if route.written is None]
        self.fused = direct[-1] if direct else None
        self.others = [route for route in self.routes if route is not self.fused]
        self.adds = [Add(net, engine.layouts, p) for p in projections if p.kind in ("identity", "maxpool")]
        self.products = [Multiply(engine.layouts, p) for p in net.network.products_into(population.name)]
        self.dynamics = _dynamics(population, self.numbers)
        self.inputs = {p.name for p in net.network.inputs}
        self.graded = {p.source: not net.network[p.source].binary for p in projections}
        self.bias = self._inner(self.numbers.bias)
        fraction = self.numbers.fraction_bits if population.model else 0
        self.threshold = self._inner(np.asarray(self.numbers.threshold, np.int64) << fraction)
        self.reset = self._inner(np.asarray(self.numbers.reset, np.int64) << fraction)
        first = self.numbers.reset if self.numbers.start is None else self.numbers.start
        self.start = self._inner(np.asarray(first, np.int64) << fraction)
        self.blocked: tuple[NDArray[Any], ...] = ()
        if self.fused is not None:
            self.blocked = tuple(self.fused.blocked(v) for v in self._parameters)

    @property
    def nbytes(self) -> int:
        """Bytes of the neuron parameters in the form that the loops read."""
        return sum(array.nbytes for array in self.blocked or self._parameters)

    @property
    def _parameters(self) -> tuple[NDArray[Any], ...]:
        return (self.bias, self.threshold, self.reset, self.start)

    def compute(self, values: Mapping[str, Value], events: dict[str, NDArray[np.int64]]) -> Value:
        """Returns this population's values and adds the events of its projections to `events`."""
        if self.population.role == "relay":
            return self._relay(values, events)
        addend = self._addend(values, events)
        if self.fused is not None:
            dense = self._advance(self.fused, values, events, addend, self.blocked, self.dynamics)
        else:
            dense = self._alone(addend)
        if self.numbers.rescale is not None:
            self._rescaled(dense)
        return Value(dense, self.layout)

    def _rescaled(self, dense: NDArray[Any]) -> None:
        """Rescales currents in place."""
        from neurokit.hw_sim.engine import kernels

        rescale, far = self.numbers.rescale, np.iinfo(self.dtype).max
        assert rescale is not None
        low, high = max(rescale.low, -far), min(rescale.high, far)
        kernels.rescale(dense.reshape(-1), rescale.shift, self.dtype(low), self.dtype(high))

    def _addend(self, values: Mapping[str, Value], events: dict[str, NDArray[np.int64]]) -> NDArray[Any] | None:
        """Returns the currents of everything but the fused route, `[T, N]`, or None."""
        if not (self.others or self.adds or self.products):
            return None
        total = np.zeros((self.steps, self.layout.size), self.dtype)
        for part in (*self.adds, *self.products):
            part.add(total, values, events)
        for route in self.others:
            zero = np.zeros((1, route.blocks, route.shift.shape[1]), self.dtype)
            still = (0, 0, 0, 0, 0)
            out = self._advance(route, values, events, None, (zero,) * 4, still).reshape(self.steps, -1)
            add_at(total, out, route.written)
        return total

    def _advance(
        self,
        route: Route,
        values: Mapping[str, Value],
        events: dict[str, NDArray[np.int64]],
        addend: NDArray[Any] | None,
        blocked: tuple[NDArray[Any], ...],
        dynamics: tuple[int, ...],
    ) -> NDArray[Any]:
        from neurokit.hw_sim.engine import kernels

        p, target = route.projection, route.target
        graded = self.graded[p.source]
        source = values[p.source]
        if route.read is not None:
            source = Value(_view(source.dense, route), route.source)
        if graded and source.dense.dtype != self.dtype:
            source = Value(source.dense.astype(self.dtype), source.layout)
        if self._is_dense(route, source):
            return self._each(route, source, events, addend, blocked, dynamics)
        # An image that is shown in every step is listed and routed once.
        still = graded and p.source in self.inputs and bool((source.dense == source.dense[:1]).all())
        rows, place, channel, value = (Value(source.dense[:1], source.layout) if still else source).events(
            route.flat, graded
        )
        shape = (self.steps, target.rows, target.width * target.channels)
        none = (0, 0, 0)
        spiking = dynamics[0] != kernels.CURRENT
        currents = np.empty(none if spiking else shape, self.dtype)
        spikes = np.empty(shape if spiking else none, np.uint8)
        crossed = np.empty((target.rows * route.blocks, self.steps), np.int64)
        narrow = self.dtype if graded else np.int16 if route.weight.dtype == np.int8 else np.int32
        kernels.advance(
            rows,
            place,
            channel,
            value,
            graded,
            route.weight,
            route.geometry,
            route.spans,
            route.taps,
            route.group_start,
            np.empty(0, narrow),
            2**62 if graded else route.limit,
            route.shift,
            blocked[0],
            np.empty(none, self.dtype) if addend is None else addend.reshape(shape),
            blocked[1],
            blocked[2],
            blocked[3],
            dynamics,
            currents,
            spikes,
            crossed,
            still,
        )
        per_block = crossed.reshape(target.rows, route.blocks, self.steps).sum(axis=0)
        events[p.name] = route.connections @ per_block
        return spikes if spiking else currents

    def _is_dense(self, route: Route, source: Value) -> bool:
        """Whether so many values of a convolution channel by channel are not zero that single events cost more."""
        if not route.each_by_itself or route.projection.source_shape[0] < _CHANNELS:
            return False
        return source.counts().sum() > _DENSE * source.dense.size

    def _each(
        self,
        route: Route,
        source: Value,
        events: dict[str, NDArray[np.int64]],
        addend: NDArray[Any] | None,
        blocked: tuple[NDArray[Any], ...],
        dynamics: tuple[int, ...],
    ) -> NDArray[Any]:
        from neurokit.hw_sim.engine import kernels

        p, target = route.projection, route.target
        graded = self.graded[p.source]
        shape, none = (self.steps, target.rows, target.width * target.channels), (0, 0, 0)
        spiking = dynamics[0] != kernels.CURRENT
        currents = np.empty(none if spiking else shape, self.dtype)
        spikes = np.empty(shape if spiking else none, np.uint8)
        crossed = np.empty((target.rows, self.steps), np.int64)
        narrow = self.dtype if graded else np.int16 if route.weight.dtype == np.int8 else np.int32
        rows, places = route.strides
        kernels.advance_each(
            source.dense,
            source.counts(),
            route.unpacked(narrow),
            rows,
            (*places, target.width),
            route.shift[0],
            blocked[0],
            np.empty(none, self.dtype) if addend is None else addend.reshape(shape),
            blocked[1],
            blocked[2],
            blocked[3],
            dynamics,
            currents,
            spikes,
            crossed,
        )
        events[p.name] = crossed.sum(axis=0)
        return spikes if spiking else currents

    def _alone(self, addend: NDArray[Any] | None) -> NDArray[Any]:
        """Returns the values of a population that no route computes: only currents from elsewhere arrive."""
        from neurokit.hw_sim.engine import kernels

        current = np.zeros((self.steps, self.layout.size), self.dtype) if addend is None else addend
        current += self.bias
        shape = (self.steps, self.layout.rows, -1)
        if self.dynamics[0] == kernels.CURRENT:
            return current.reshape(shape)
        spikes = np.empty(current.shape, np.uint8)
        kernels.integrate(current, self.threshold, self.reset, self.start, self.dynamics, spikes)
        return spikes.reshape(shape)

    def _relay(self, values: Mapping[str, Value], events: dict[str, NDArray[np.int64]]) -> Value:
        """Returns values passed on as they are, such as the maximum of a pooling window."""
        total = np.zeros((self.steps, self.layout.size), np.uint8 if self.population.binary else self.dtype)
        for part in self.adds:
            part.add(total, values, events)
        return Value(total.reshape(self.steps, self.layout.rows, -1), self.layout)

    def _inner(self, given: ArrayLike) -> NDArray[Any]:
        array = np.broadcast_to(np.asarray(given, self.dtype), self.population.shape)
        return self.layout.inward(array[None])[0].copy()


def _dynamics(population: Population, numbers: IntegerPopulation) -> tuple[int, ...]:
    """Returns mode, leak numerator, leak shift, fraction bits and soft reset, as the loops take them."""
    from neurokit.hw_sim.engine import kernels

    model = population.model
    if model is None:
        return (kernels.CURRENT, 0, 0, 0, 0)
    mode = kernels.INTEGRATE
    if model.kind == "lif":
        mode = kernels.LEAK_WITH_INPUT if model.decay_input else kernels.LEAK
    return (mode, numbers.leak_numerator, numbers.leak_shift, numbers.fraction_bits, int(model.reset is None))


def _view(dense: NDArray[Any], route: Route) -> NDArray[Any]:
    flat = dense.reshape(len(dense), -1)
    assert route.read is not None
    view = np.where(route.read >= 0, flat[:, route.read], flat.dtype.type(0))
    return view.reshape(len(dense), route.source.rows, -1)
