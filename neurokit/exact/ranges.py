"""Walks through a program with bounds in the place of numbers.

The membranes are bounded step by step: see `neurokit.exact.membranes`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from neurokit.exact.bounds import LIMIT, Finding, Nominal, Range, Unknown, as_range
from neurokit.exact.dyadic import log2, lowest_bit, top_exponent
from neurokit.exact.membranes import Membrane, membrane
from neurokit.exact.quantise import BIAS_BITS
from neurokit.exact.rules import RULES
from neurokit.program import nodes
from neurokit.program.ops import Kind, is_kind, names_of
from neurokit.program.walk import Rule, Walker

# A current is never rounded to coarser than the threshold / 2**6: beyond, a membrane is left elementwise.
_FINEST_LOSS = 6.0
_FURTHER = 64  # steps after which states that still grow are taken to grow for ever


class Ranges(Walker):
    """Runs a folded program on ranges.

    Args:
        module: The graph module.
        linears: Names of the nodes of its linear maps, in order.
        neurons: Names of the nodes of its neurons, in order.
        nominal: For planning: weights are then taken as numbers without a grid.
        steps: T.
    """

    rules: ClassVar[Mapping[Kind, Rule]] = {
        **RULES,
        Kind.CONVOLVE: lambda run, target, args, kwargs: run.linear(target, args, kwargs),
        Kind.LINEAR: lambda run, target, args, kwargs: run.linear(target, args, kwargs),
    }

    def __init__(
        self, module: GraphModule, linears: list[str], neurons: list[str], nominal: Nominal | None, steps: int
    ) -> None:
        super().__init__(module)
        self._linears = {name: index for index, name in enumerate(linears)}
        self._neurons = {name: index for index, name in enumerate(neurons)}
        self._nominal = nominal
        self.node: Any = None
        self._steps = steps
        self._biased: set[int] = set()
        self.operand_grids: dict[int, float] = {}
        self.largest: dict[int, float] = {}
        self.found: list[Finding] = []
        self.settled = True
        self._last: frozenset[str] = frozenset()
        self._graph = module.graph

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Propagates ranges through one operation; what rounding has touched stays unknown."""
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        if target not in nodes.NEURONS and any(isinstance(leaf, Unknown) for leaf in leaves):
            return Unknown()
        return super().call_function(target, args, kwargs)

    def is_value(self, value: Any) -> bool:
        """Returns whether a value is a range."""
        return isinstance(value, Range)

    def plain(self, value: Any) -> Any:
        """Returns a tensor of a range's shape."""
        return value.pos if isinstance(value, Range) else value

    def unknown(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Notes an operation whose result may be rounded."""
        if is_kind(self.node, Kind.SUM, Kind.POOL):
            return self._inexact(f"{_name(target)} divides by a number that is no power of two, or by several")
        return self._inexact(f"{_name(target)} is no sum of products")

    def output(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Notes the bounds of what leaves the program."""
        for node, value in zip(self.node.all_input_nodes, _flat(args[0]), strict=False):
            if isinstance(value, Range) and not _is_membrane(node):
                self.note(value, "output", node=node.name)
        return args[0]

    def note(self, value: Range, kind: str, index: int | None = None, node: str = "") -> None:
        """Notes the bounds of a result."""
        floor = log2(value.largest()) - LIMIT - value.gain
        name = node or self.node.name
        sources = frozenset[int]() if name in self._last else value.sources  # it is rounded once: nothing to coarsen
        self.found.append(Finding(name, index, kind, value.bits(), sources=sources, floor=floor))

    def rounded(self, value: Range) -> Range:
        """Returns a product with a constant factor as the plan will round it: on a grid of its own."""
        exponent = None if self._nominal is None else self._nominal.scales.get(self.node.name)
        if exponent is None:
            return value
        return Range(value.pos, value.neg, torch.full_like(value.grid, float(exponent)))

    def _inexact(self, why: str) -> Unknown:
        self.found.append(Finding(self.node.name, None, "inexact", math.inf, why=why))
        return Unknown()

    def linear(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A convolution or linear map with constant weights."""
        x, weight = args[0], args[1]
        if not isinstance(x, Range) or isinstance(weight, Range) or not nodes.weighted(target):
            return None
        index = self._linears.get(self.node.name)
        x = self._narrow(x, index)
        if index is not None:
            self.operand_grids[index] = min(float(x.grid.min()), self.operand_grids.get(index, math.inf))
        up, down = weight.clamp_min(0), (-weight).clamp_min(0)
        through = lambda value, part: target(value, part, None, *args[3:], **kwargs)  # noqa: E731
        pos, neg = through(x.pos, up), through(x.pos, down)
        if bool((x.neg > 0).any()):
            pos, neg = pos + through(x.neg, down), neg + through(x.neg, up)
        axis = pos.dim() - 1 if names_of(target)[1] == "linear" else 1
        shape = [-1 if i == axis else 1 for i in range(pos.dim())]
        grid = self._weight_grid(weight, index) + float(x.grid.min())
        bias = args[2] if len(args) > 2 else None
        if index is not None and ((bias is not None and bool(bias.any())) or weight.shape[1] == x.pos.shape[axis]):
            self._biased.add(index)  # or will be, when the bias takes up what the weights lose
        if bias is not None:
            pos, neg = pos + bias.clamp_min(0).reshape(shape), neg + (-bias).clamp_min(0).reshape(shape)
            grid = grid if self._nominal else torch.minimum(grid, lowest_bit(bias))
        sources = x.sources if index is None else frozenset({index})
        gain = x.gain + float(self._weight_grid(weight, index).min()) if index is None else 0.0
        made = Range(pos, neg, grid.reshape(shape).expand(pos.shape), sources, gain)
        self.note(made, "sum", index)
        if index is not None:
            self.largest[index] = max(made.largest(), self.largest.get(index, 0.0))
        if self._nominal is not None and index in self._nominal.limits:
            limit = self._nominal.limits[index]
            return replace(made, pos=made.pos.clamp_max(limit), neg=made.neg.clamp_max(limit))
        return made

    def _weight_grid(self, weight: Tensor, index: int | None) -> Tensor:
        flat = weight.reshape(len(weight), -1)
        if self._nominal is not None and index is not None:
            return top_exponent(flat.abs().amax(1), self._nominal.levels).clamp_min(-60.0)
        return lowest_bit(flat).amin(1).clamp_max(60.0)

    def _narrow(self, x: Range, index: int | None) -> Range:
        """While planning: an operand with too many bits will be quantised."""
        plan = self._nominal
        finer: float = BIAS_BITS if x.sources & self._biased else 0
        if plan is None or index is None or x.bits() + finer <= plan.widest:
            return x
        limit = min(x.largest(), plan.observed.get(index, math.inf))
        signed = bool(x.neg.max() > 0)  # one bit is the sign's, so that the operand is a byte either way
        top = 2 ** (plan.operand_bits - signed) - 1
        exponent = int(top_exponent(torch.tensor(limit), top)) if limit > 0 else 0
        limit = top * 2.0**exponent
        exponent, limit = max((exponent, limit), plan.operands.get(index, (exponent, limit)))  # of an earlier step
        plan.operands[index] = (exponent, limit)
        finer = math.log2(self._steps) if nodes.time_mean(self.node.args[0]) is not None else 0.0
        grid = torch.full_like(x.grid, exponent - finer)
        return Range(x.pos.clamp_max(limit), x.neg.clamp_max(limit), grid)

    def neuron(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Bounds a layer's membrane; puts out spikes, and the bounds of the membrane after the last step."""
        x, v0 = args[0], args[1]
        if isinstance(v0, Range):  # of the call before: as `Membrane.after` has it
            v0 = (v0.pos, -v0.neg, v0.grid)
        index = self._neurons[self.node.name]
        op = nodes.NEURONS[target]
        settings = {name: args[place] for name, place in nodes.PLACES[op].items() if place < len(args)}
        if isinstance(x, Unknown) or isinstance(v0, Unknown):
            self.found.append(Finding(self.node.name, index, "inexact", math.inf, why="its input is rounded"))
            steps = self._steps
            spikes = torch.ones(steps, *nodes.hints(self.node.args[1]))
            return Range(spikes, torch.zeros_like(spikes), torch.zeros_like(spikes)), Unknown()
        if not isinstance(x, Range):
            x = Range(x.clamp_min(0), (-x).clamp_min(0), lowest_bit(x))
        bounds = membrane(op, x.pos, x.neg, x.grid, settings, v0, x.pos.shape[0])
        found = Finding(self.node.name, index, "neuron", x.bits(), bounds, sources=x.sources)
        found.sum_floor = log2(x.largest()) - LIMIT - x.gain
        found.size, found.threshold = x.largest(), abs(float(settings["v_threshold"]))
        found.cap = log2(abs(float(settings["v_threshold"]))) - _FINEST_LOSS
        found.floor = max(min(bounds.floor, found.cap) - x.gain, found.sum_floor)
        found.gain = x.gain
        self.found.append(found)
        zeros = torch.zeros_like(x.pos)
        return Range(torch.ones_like(x.pos), zeros, zeros), _after(bounds, x)

    def start(self, *inputs: Any) -> list[Finding]:
        """Runs the program; inputs are Ranges, initial states tensors."""
        self._last = rounded_once(self._graph, sum(isinstance(value, Tensor) for value in inputs))
        with torch.no_grad():
            self.run(*inputs)
        return self.found

    def start_steps(
        self, inputs: Sequence[Any], states: Sequence[Any], steps: int, further: bool = True
    ) -> list[Finding]:
        """Runs a single step once a step, from the states that the one before it can leave.

        Args:
            inputs: Ranges of the inputs.
            states: The initial states.
            steps: T.
            further: Whether more steps are taken until the states grow no more, or a bound is missed.

        Returns:
            The worst finding of every node over T steps. `settled` says whether it holds for any number of steps.
        """
        held = list(states)
        self._last = rounded_once(self._graph, len(held))
        kept: list[Finding] = []
        with torch.no_grad():
            for t in range(max(steps, _FURTHER) if further else steps):
                self.found = []
                made = self.run(*inputs, *held)
                if t < steps:
                    kept = worst(kept, self.found)
                after = [_wider(old, new) for old, new in zip(held, made[len(made) - len(held) :], strict=True)]
                self.settled = all(_same(old, new) for old, new in zip(held, after, strict=True))
                if self.settled or (t >= steps and any(finding.bits >= LIMIT for finding in self.found)):
                    break
                held = after
        self.found = kept
        return kept


def rounded_once(graph: Graph, states: int) -> frozenset[str]:
    """Returns the products with a number that leave a network and go nowhere else, by name.

    One operation rounds each element of them, and IEEE 754 says how: the same bits wherever float32 is computed.

    Args:
        graph: The network.
        states: How many of what it returns last are its states.
    """
    returned = [node for node in _flat(graph.output_node().args[0]) if isinstance(node, Node)]
    outputs, kept = returned[: len(returned) - states], returned[len(returned) - states :]
    return frozenset(
        node.name
        for node in outputs
        if is_kind(node, Kind.MULTIPLY, Kind.DIVIDE)
        and isinstance(node.args[1], int | float)
        and all(user.op == "output" for user in node.users)
        and node not in kept
    )


def worst(before: list[Finding], now: list[Finding]) -> list[Finding]:
    """Returns the worst finding of every node, of those of earlier steps and of the present one."""
    found = {(f.node, f.index, f.kind): f for f in before}
    for one in now:
        key = (one.node, one.index, one.kind)
        old = found.get(key)
        found[key] = one if old is None else _worse(old, one)
    return list(found.values())


def _worse(a: Finding, b: Finding) -> Finding:
    membrane = a.membrane if b.membrane is None or (a.membrane and a.membrane.bits >= b.membrane.bits) else b.membrane
    return replace(
        a if a.bits >= b.bits else b,
        membrane=membrane,
        sources=a.sources | b.sources,
        floor=max(a.floor, b.floor),
        sum_floor=max(a.sum_floor, b.sum_floor),
        size=max(a.size, b.size),
    )


def _wider(old: Any, new: Any) -> Any:
    """Returns the range of a state after this step or an earlier one."""
    if isinstance(new, Unknown) or isinstance(old, Unknown):
        return Unknown()
    a, b = as_range(old), as_range(new)
    grid = torch.minimum(a.grid, b.grid).expand(b.pos.shape)
    return replace(b, pos=torch.maximum(a.pos, b.pos), neg=torch.maximum(a.neg, b.neg), grid=grid)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, Unknown) and isinstance(new, Unknown):
        return True
    if isinstance(old, Unknown) or isinstance(new, Unknown):
        return False
    a, b = as_range(old), as_range(new)
    return all(torch.equal(getattr(a, name).expand(b.pos.shape), getattr(b, name)) for name in ("pos", "neg", "grid"))


def _after(bounds: Membrane, x: Range) -> Range | Unknown:
    """Returns the range of a membrane after its steps, whose grid follows that of the current."""
    if bounds.after is None:
        return Unknown()
    high, low, grid = bounds.after
    finer = min(float((grid - x.grid.amin(0)).min()), 0.0) if grid.numel() else 0.0
    return Range(high.clamp_min(0).float(), (-low).clamp_min(0).float(), grid, x.sources, x.gain + finer)


def _is_membrane(node: Any) -> bool:
    """Returns whether a node is what a neuron's membrane is after its steps: a state, whose bounds the neuron has."""
    return node.target is operator.getitem and node.args[1] == 1 and nodes.is_op(node.args[0], nodes.NEURONS)


def _name(target: Any) -> str:
    return str(target).removesuffix(".default")


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
