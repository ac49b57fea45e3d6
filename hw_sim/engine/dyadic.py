"""From a traced network in dyadic form to integers: exact, or refused with every reason.

A network is dyadic where each output channel's weights are whole numbers of at most 8 (16) bits times a power of two,
and biases, thresholds, reset values, inputs and 1/tau are dyadic fractions. Its real values then are integers on grids
of powers of two, and nothing is rounded here: the engine computes the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import UnsupportedError
from neurokit.hw_sim.engine.integer import IntegerNetwork, IntegerPopulation, IntegerProjection, Rescale
from neurokit.hw_sim.engine.layout import Layout, population_layout, view_layouts
from neurokit.hw_sim.graph.network import Network, Population, Rounding, Uncounted
from neurokit.hw_sim.graph.projection import Projection

_NONE = 2**20  # the exponent of zero: it lies on every grid
_FAR = 2**62  # beyond every sum
_SPREAD = 48  # bits between the finest grid of a sum and the coarsest


def exponents(values: NDArray[np.float64], axis: int | None = None) -> NDArray[np.int64]:
    """Returns the largest e for which all values are whole multiples of `2**e` (a large number where all are zero)."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    lowest = np.where(whole == 0, 1, whole & -whole)
    zeros = np.round(np.log2(lowest.astype(np.float64))).astype(np.int64)
    found = np.where(whole == 0, _NONE, exponent.astype(np.int64) - 53 + zeros)
    return found.min(axis=axis) if axis is not None else found


def integer_network(
    network: Network, time_steps: int, inputs: Mapping[str, NDArray[np.floating]]
) -> tuple[IntegerNetwork, dict[str, NDArray[np.int64]]]:
    """Returns a traced dyadic network in integers, and its inputs.

    Args:
        network: A network whose weights and biases are known, as the trace of a model in exact form.
        time_steps: T; membranes get as many fraction bits as its leaks need.
        inputs: Real inputs by population name, `[T, N]`.

    Raises:
        UnsupportedError: If something is not dyadic or not known; lists every reason.
    """
    return _Reader(network, time_steps).read(inputs)


@dataclass
class _Reader:
    network: Network
    steps: int
    grids: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # exponent of each neuron's current or value
    populations: dict[str, IntegerPopulation] = field(default_factory=dict)
    projections: dict[str, IntegerProjection] = field(default_factory=dict)
    reasons: list[Uncounted] = field(default_factory=list)

    def read(self, inputs: Mapping[str, NDArray[np.floating]]) -> tuple[IntegerNetwork, dict[str, NDArray[np.int64]]]:
        bounds, integers = {}, {}
        for population in self.network.populations:
            name = population.name
            if population.role == "input":
                real = np.asarray(inputs[name], np.float64).reshape(self.steps, population.size)
                grid = 0 if population.binary else int(exponents(real).min(initial=_NONE))
                grid = 0 if grid == _NONE else grid
                self.grids[name] = np.full(population.size, grid)
                integers[name] = np.round(real * 2.0**-grid).astype(np.int64)
                bounds |= {} if population.binary else {name: int(np.abs(integers[name]).max(initial=1))}
            else:
                self._population(population)
        if self.network.uncounted:  # whatever its numbers are
            raise UnsupportedError(
                f"the event engine cannot run network {self.network.name!r}",
                [*self.network.uncounted, *self.reasons],
                expected="connections, neurons and products of spikes alone",
                fix="leave events unchecked: verification of an exact artifact compares these spikes",
            )
        if self.reasons:
            raise UnsupportedError(
                f"the event engine cannot run network {self.network.name!r} in whole numbers",
                self.reasons,
                expected="dyadic weights, biases, thresholds and leaks",
                fix="nk.exact(...); if it is in that form, leave events unchecked: verification compares these spikes",
            )
        return IntegerNetwork(self.network, self.populations, self.projections, bounds), integers

    def _refuse(self, path: str, reason: str) -> None:
        self.reasons.append(Uncounted(path, reason))

    def _population(self, population: Population) -> None:
        """Finds the grid on which everything meets, and the shifts and integers on it."""
        name, model = population.name, population.model
        late = [p.name for p in self.network.into(name) if p.delay]
        if late:
            self._refuse(late[0], "a recurrent or delayed connection, which the event engine does not take")
            self.grids[name] = np.zeros(population.size, np.int64)
            return
        if model is not None and not model.described:
            self._refuse(name, "its neurons have more to them than the event engine computes")
        if population.recorded:
            self._refuse(name, "its values were recorded: nothing that comes in gives them")
        if not population.bias_known:
            self._refuse(name, "its bias is not known (a normalisation that was not folded)")
        arrivals = [(p, *self._arrival(p)) for p in self.network.into(name)]
        bias = np.zeros(population.size) if population.bias is None else population.bias
        grid = exponents(bias)
        for _, exponent, _ in arrivals:
            grid = np.minimum(grid, exponent)
        for product in self.network.products_into(name):
            grid = np.minimum(grid, self._even(product.left) + self._even(product.right))
        if model is not None:
            levels = [value for value in (model.threshold, model.reset) if value]
            grid = np.minimum(grid, int(exponents(np.array(levels)).min(initial=_NONE)))
        if population.start is not None:
            grid = np.minimum(grid, exponents(population.start))
        if population.rounding is not None:
            grid = np.minimum(grid, _rounding_grid(population.rounding))
        grid = np.where(grid >= _NONE // 2, 0, grid)
        grid = self._levelled(population, grid)
        rounds = population.rounding is not None and population.rounding.whole
        self.grids[name] = np.zeros_like(grid) if population.binary or rounds else grid
        for projection, exponent, weight in arrivals:
            self.projections[projection.name] = self._numbers(projection, exponent, weight, grid)
        scale = (2.0 ** -grid.astype(np.float64)).reshape(population.shape)
        self.populations[name] = IntegerPopulation(
            bias=_whole(bias.reshape(population.shape) * scale),
            threshold=_whole(model.threshold * scale) if model else 1,
            reset=_whole((model.reset or 0.0) * scale) if model else 0,
            start=None if population.start is None else _whole(population.start.reshape(population.shape) * scale),
            rescale=None if population.rounding is None else _rescale(population.rounding, int(grid.min())),
            **self._leak(population),
        )

    def _leak(self, population: Population) -> dict[str, int]:
        model = population.model
        if model is None or model.kind == "if":
            return {}
        exponent = int(exponents(np.array([1.0 / model.tau]))[0])
        numerator = 1.0 / model.tau * 2.0**-exponent
        if exponent > 0 or numerator > 2**10:
            self._refuse(population.name, f"1/tau = {1.0 / model.tau!r} is no short dyadic fraction")
            return {}
        return {"leak_numerator": int(numerator), "leak_shift": -exponent, "fraction_bits": -exponent * self.steps}

    def _levelled(self, population: Population, grid: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns one exponent a channel; one for all where channels are summed or mixed."""
        reads = [p.kind for p in self.network.out_of(population.name) if p.kind != "identity"]
        operand = any(population.name in (p.left, p.right) for p in self.network.products)
        moved = any(p.target_index is not None for p in self.network.into(population.name))
        if (
            moved
            or population.rounding is not None
            or (not population.binary and (reads or operand or self.network.products_into(population.name)))
        ):
            return np.full_like(grid, grid.min())
        layout = population_layout(self.network, population)
        inner = layout.inward(grid[None]).reshape(-1, layout.channels)
        level = np.broadcast_to(inner.min(axis=0), inner.shape).reshape(1, -1)
        return layout.outward(np.ascontiguousarray(level))[0]

    def _even(self, name: str) -> int:
        """Returns the one exponent of a population whose values are summed over channels."""
        return int(self.grids[name].min())

    def _arrival(self, p: Projection) -> tuple[NDArray[np.int64], NDArray[np.signedinteger] | None]:
        """Returns the exponent with which a projection reaches each target neuron, and its integer weights."""
        weight, view = None, None
        if p.kind in ("conv", "linear"):
            if p.weight is None:
                self._refuse(p.name, "its weights are not known (a normalisation that was not folded)")
                return np.full(p.target_size, _NONE), None
            real = np.asarray(p.weight, np.float64)
            per_channel = exponents(real.reshape(len(real), -1), axis=1)
            per_channel = np.where(per_channel >= _NONE // 2, 0, per_channel)
            whole = real * 2.0 ** -per_channel.reshape(-1, *(1,) * (real.ndim - 1)).astype(np.float64)
            largest = np.abs(whole).max(initial=0)
            if largest > np.iinfo(np.int16).max:
                self._refuse(p.name, f"its weights need {math.ceil(math.log2(largest)) + 1} bits")
                return np.full(p.target_size, _NONE), None
            weight = whole.astype(np.int8 if whole.min() >= -128 and whole.max() <= 127 else np.int16)
            view = per_channel + self._even(p.source)
        elif p.gain is None or p.gain <= 0 or math.frexp(p.gain)[0] != 0.5:
            self._refuse(p.name, f"its factor {p.gain} is no power of two")
            return np.full(p.target_size, _NONE), None
        else:
            gain = math.frexp(p.gain)[1] - 1
            if p.kind == "identity":
                grid = (
                    self.grids[p.source]
                    if p.source_index is None
                    else np.where(p.source_index >= 0, self.grids[p.source][p.source_index], _NONE)
                )
                return self._scattered(p, grid + gain), None
            view = np.full(p.target_shape[0], self._even(p.source) + gain)
        return self._scattered(p, self._spread(p, view)), weight

    @staticmethod
    def _spread(p: Projection, per_channel: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns one number a channel as one a position of the target view."""
        layout = view_layouts(p)[1]
        inner = np.tile(per_channel, layout.rows * layout.width)[None]
        return layout.outward(inner)[0]

    @staticmethod
    def _scattered(p: Projection, view: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns numbers of the target view as numbers of the target's neurons."""
        if p.target_index is None:
            return view
        out = np.full(p.target_size, _NONE)
        kept = p.target_index >= 0
        np.minimum.at(out, p.target_index[kept], view[kept])
        return out

    def _numbers(
        self,
        p: Projection,
        exponent: NDArray[np.int64],
        weight: NDArray[np.signedinteger] | None,
        grid: NDArray[np.int64],
    ) -> IntegerProjection:
        """Returns a projection's integers with the shift from its own grid to the target's."""
        shift = np.where(exponent >= _NONE // 2, 0, exponent - grid)
        if p.target_index is not None:
            shift = np.where(p.target_index >= 0, shift[p.target_index], -1)
        layout = view_layouts(p)[1]
        if p.kind == "identity" and p.target_index is None:
            layout = population_layout(self.network, self.network[p.target])
        elif p.kind == "identity":
            layout = Layout.of(p.target_shape, False)
        inner = layout.inward(shift[None]).reshape(-1, layout.channels)
        per_channel = np.maximum(inner.max(axis=0), 0)
        if not ((inner == per_channel) | (inner < 0)).all():
            self._refuse(p.name, "its grid changes within a channel")
        if per_channel.max(initial=0) > _SPREAD:
            self._refuse(p.name, f"its grid is 2^{int(per_channel.max())} coarser than its target's")
        return IntegerProjection(weight, np.minimum(per_channel, _SPREAD))


def _rounding_grid(rounding: Rounding) -> int:
    """Returns the finest grid that a rounding asks of the sum before it: its limits lie on it."""
    if rounding.whole:
        return 0
    ends = [end for end in (rounding.low, rounding.high) if end is not None]
    return int(exponents(np.array(ends)).min(initial=_NONE))


def _rescale(rounding: Rounding, grid: int) -> Rescale:
    """Returns a rounding of sums on `2**grid` in integers; limits are rounded too, since rounding keeps the order."""
    unit = 1.0 if rounding.whole else 2.0**grid
    ends = (round(end / unit) if end is not None else None for end in (rounding.low, rounding.high))
    low, high = (end if end is not None else far for end, far in zip(ends, (-_FAR, _FAR), strict=True))
    return Rescale(-grid if rounding.whole else 0, low, high)


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(values).astype(np.int64)
