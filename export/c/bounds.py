"""What every value of an exact program can be: the grid that it lies on, and how large it gets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurokit.exact.bounds import LIMIT, Range
from neurokit.exact.dyadic import lowest_bit
from neurokit.exact.membranes import Fixed, in_fixed_point
from neurokit.exact.ranges import Ranges
from neurokit.program import nodes
from neurokit.program.walk import without_guards

if TYPE_CHECKING:
    from torch.fx import Node

    from neurokit.capture import Captured

_FURTHER = 256  # steps in which carried values grow no more, or grow for ever
_INTEGERS = {
    "bool": (0, 1),
    "uint8": (0, 255),
    "int8": (-128, 127),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
}
PORT_TYPES = {"float32": "float", "bool": "uint8_t", **{name: f"{name}_t" for name in _INTEGERS if name != "bool"}}


@dataclass(frozen=True)
class Integers:
    """Whole numbers on one grid: a value is a whole number from `low` to `high` times 2**exponent."""

    exponent: int
    low: int
    high: int


class Bounds(Ranges):
    """Walks through an exact program and keeps the range of every value.

    Args:
        captured: The exact program for one sample; of a spiking network its step form.
        steps: Number of steps that membranes are bounded for.

    Attributes:
        module: The program.
        values: Range of every node's value, by the node's name.
        fixed: Every neuron's membrane in fixed point, by the node's name.
    """

    def __init__(self, captured: Captured, steps: int) -> None:
        module: Any = without_guards(captured.program.module())
        calls = [n.name for n in module.graph.nodes if nodes.is_op(n, nodes.NEURONS)]
        maps = [n.name for n in module.graph.nodes if nodes.is_weighted(n) and n.args[1].op == "get_attr"]
        super().__init__(module, maps, calls, None, steps)
        self.values: dict[str, Any] = {}
        self.fixed: dict[str, Fixed] = {}
        given = [
            _anything(port.dtype, _one(node)) for port, node in zip(captured.inputs, placeholders(module), strict=False)
        ]
        self._starts: dict[str, Any] = {}
        states = captured.initial_states(1)
        if all(state.neuron for state in captured.states):
            self.start(*given, *states)
            return
        self.start_steps(given, states, _FURTHER)  # for any number of steps, where values that are carried allow it
        if not self.settled or any(
            isinstance(value, Range) and value.bits() >= LIMIT for value in self.values.values()
        ):
            self.values.clear()
            self.start_steps(given, states, steps, further=False)

    def run_node(self, n: Node) -> Any:
        """Keeps the range of what a node returns."""
        self.values[n.name] = value = super().run_node(n)
        return value

    def neuron(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Bounds the membrane over all steps: the program has one of them."""
        x, v0 = args[0], args[1]
        op = nodes.NEURONS[target]
        if isinstance(x, Range) and isinstance(v0, Range | Tensor):
            settings = {name: args[place] for name, place in nodes.PLACES[op].items() if place < len(args)}
            start = (v0.pos, -v0.neg, v0.grid) if isinstance(v0, Range) else v0
            start = self._starts.setdefault(self.node.name, start)  # all steps are bounded from the first membrane
            self.fixed[self.node.name] = in_fixed_point(op, x.pos, x.neg, x.grid, settings, start, self._steps)
        return super().neuron(target, args, kwargs)

    def integers(self, name: str) -> Integers | None:
        """Returns a value as whole numbers, or None where float32 would round it: such a value stays float32."""
        found = self.values.get(name)
        if isinstance(found, Tensor):
            return of_constants(found)
        if not isinstance(found, Range) or found.bits() >= LIMIT:
            return None
        exponent = int(min(float(found.grid.min()), 0.0)) if found.grid.numel() else 0
        unit = 2.0**-exponent
        return Integers(exponent, -math.ceil(float(found.neg.max()) * unit), math.ceil(float(found.pos.max()) * unit))


def of_constants(value: Tensor) -> Integers:
    """Returns the grid of given numbers."""
    exponent = int(min(float(lowest_bit(value.float()).min()), 0.0)) if value.numel() else 0
    scaled = value.double() * 2.0**-exponent
    return Integers(exponent, int(scaled.min()), int(scaled.max()))


def placeholders(module: Any) -> list[Node]:
    """Returns the inputs of a program, states behind them."""
    return [node for node in module.graph.nodes if node.op == "placeholder"]


def _one(node: Node) -> tuple[int, ...]:
    return tuple(nodes.hints(node))


def _anything(dtype: str, shape: tuple[int, ...]) -> Range:
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        return Range(
            torch.full(shape, float(high)), torch.full(shape, float(-low)), torch.zeros(shape, dtype=torch.float64)
        )
    huge = torch.full(shape, 1e30)
    return Range(huge, huge, torch.full(shape, -149.0, dtype=torch.float64))
