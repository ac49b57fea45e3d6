"""How large the integers of a network can become, so that the event engine knows which types hold them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurokit.errors import UnsupportedError
from neurokit.hw_sim.engine.integer import IntegerNetwork
from neurokit.hw_sim.engine.route import Route
from neurokit.hw_sim.graph.projection import Projection

_INT32 = 2**31 - 1


def integer_type(bound: int) -> type[np.signedinteger]:
    """Returns the narrowest type of the engine's sums that holds -bound to bound."""
    return np.int32 if bound <= _INT32 else np.int64


class Bounds:
    """Static bounds on absolute values, from weights, fan-in and input ranges: they choose the integer types."""

    def __init__(self, net: IntegerNetwork, routes: Mapping[str, Route], time_steps: int) -> None:
        self.of: dict[str, int] = {}  # of what each population sends
        self.sum: dict[str, int] = {}  # of its current or, for neurons, scaled membrane
        for population in net.network.populations:
            name, numbers = population.name, net.population(population.name)
            if population.role == "input":
                self.of[name] = self.sum[name] = 1 if population.binary else net.input_bound[name]
                continue
            total = int(np.abs(np.asarray(numbers.bias)).max(initial=0))
            for p in net.network.into(name):
                total += self._through(p, routes, int(np.max(net.projection(p.name).shift)))
            for product in net.network.products_into(name):
                total += product.inner * self.of[product.left] * self.of[product.right]
            if population.model is not None:
                levels = (numbers.threshold, numbers.reset, 0 if numbers.start is None else numbers.start)
                extremes = [int(np.abs(np.asarray(n)).max(initial=0)) for n in levels]
                # With a leak of at least the input's share the membrane is a mean of currents; else it adds up.
                mean = population.model.kind == "lif" and population.model.decay_input
                total = (total if mean else total * time_steps) + sum(extremes)
                total = (total + 1) << numbers.fraction_bits  # + 1: a leak rounds down
            if numbers.rescale is not None:
                self.sum[name] = total
                total = min(total, max(abs(numbers.rescale.low), abs(numbers.rescale.high)))
            self.of[name] = 1 if population.binary else total
            self.sum[name] = max(total, self.sum.get(name, 0))
            bits = self.sum[name].bit_length() + numbers.leak_numerator.bit_length() + 1
            if bits > 62:
                raise UnsupportedError(
                    f"{name!r} needs {bits} bits",
                    expected="at most 62 bits",
                    fix="use fewer fraction bits, fewer time steps or fewer weight bits",
                )

    def _through(self, projection: Projection, routes: Mapping[str, Route], shift: int) -> int:
        gain = routes[projection.name].gain if projection.name in routes else 1 << shift
        return gain * self.of[projection.source]
