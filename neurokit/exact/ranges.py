"""How large every sum of a program can become, and how fine it is: bounds that hold in any order of summation.

A tensor's `Range` holds, element by element, the largest positive and the largest negative sum that any subset of the
terms that were added since the last threshold can give, and the exponent of the finest grid that they lie on. If both
are below 2**24 units of that grid, every partial sum, in any order and with any fusion, is a float32 number, so that
nothing is ever rounded. The membranes are bounded step by step: see `neurokit.exact.membranes`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from neurokit.exact import ops
from neurokit.exact.dyadic import ANY, is_power_of_two, log2, lowest_bit, lowest_bit_of, top_exponent
from neurokit.exact.membranes import Membrane, membrane
from neurokit.exact.ops import aten

LIMIT = 24  # bits of a float32's significand
# A current is never rounded to coarser than the threshold / 2**6: beyond, a membrane is left elementwise.
_FINEST_LOSS = 6.0


@dataclass(frozen=True)
class Range:
    """Bounds of one tensor.

    Attributes:
        pos: Largest sum of positive terms, >= 0.
        neg: Largest sum of the magnitudes of negative terms, >= 0.
        grid: Exponent of the grid.
        sources: Numbers of the linear maps whose grids can still change this one (-1: the input).
        gain: Exponent by which this grid is finer (negative) than that of its sources.
    """

    pos: Tensor
    neg: Tensor
    grid: Tensor
    sources: frozenset[int] = frozenset()
    gain: float = 0.0

    def bits(self) -> float:
        """Returns log2 of the largest sum in units of the grid."""
        size = torch.maximum(self.pos, self.neg).double()
        units = torch.where(size > 0, torch.log2(size.clamp_min(1e-300)) - self.grid, torch.full_like(size, -ANY))
        return float(units.max()) if units.numel() else -ANY

    def largest(self) -> float:
        """Returns the largest magnitude."""
        return max(float(self.pos.max()), float(self.neg.max())) if self.pos.numel() else 0.0


class Unknown:
    """A tensor that rounding has touched: its grid is not known."""


@dataclass
class Finding:
    """What was found at one node.

    Attributes:
        node: Name of the node.
        index: Number of the linear map or neuron, or None.
        kind: "sum", "neuron", "output" or "inexact".
        bits: log2 of the largest partial sum in units of its grid.
        membrane: Bounds of the neuron.
        why: For "inexact": the reason.
        sources: As in Range.
        floor: Exponent below which the sources' grids must not go, by the bounds found.
        sum_floor: The same without the membrane's own needs.
        gain: As in Range.
        cap: Exponent above which no neuron's input is rounded for the sake of its membrane.
    """

    node: str
    index: int | None
    kind: str
    bits: float
    membrane: Membrane | None = None
    why: str = ""
    sources: frozenset[int] = frozenset()
    floor: float = -ANY
    sum_floor: float = -ANY
    gain: float = 0.0
    cap: float = ANY


@dataclass
class Nominal:
    """Before weights are on their grids: the grids they will have, and where operands get too wide.

    Attributes:
        levels: Largest weight in units of its grid.
        observed: Largest magnitude seen at the input of each linear map.
        widest: Bits of an operand above which it is quantised first.
        operand_bits: Bits it is quantised to.
        operands: What was decided: exponent and largest magnitude, by linear map.
        limits: Largest magnitude that a linear map's result is limited to, by number.
    """

    levels: int
    observed: dict[int, float]
    widest: int = 10
    operand_bits: int = 8
    operands: dict[int, tuple[int, float]] = field(default_factory=dict)
    limits: dict[int, float] = field(default_factory=dict)


class Ranges(Interpreter):
    """Runs a folded program on ranges.

    Args:
        module: The graph module.
        linears: Names of the nodes of its linear maps, in order.
        neurons: Names of the nodes of its neurons, in order.
        nominal: For planning: weights are then taken as numbers without a grid.
        steps: T.
    """

    def __init__(
        self, module: GraphModule, linears: list[str], neurons: list[str], nominal: Nominal | None, steps: int
    ) -> None:  # fmt: skip
        super().__init__(module)
        self._linears = {name: index for index, name in enumerate(linears)}
        self._neurons = {name: index for index, name in enumerate(neurons)}
        self._nominal = nominal
        self._node: Any = None
        self._steps = steps
        self.operand_grids: dict[int, float] = {}
        self.largest: dict[int, float] = {}
        self.found: list[Finding] = []

    def run_node(self, n: Node) -> Any:
        """Remembers which node is run."""
        self._node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Propagates ranges through one operation."""
        leaves = torch.utils._pytree.tree_leaves((args, kwargs))
        if target in ops.NEURONS:
            return self._neuron(target, args)
        if any(isinstance(leaf, Unknown) for leaf in leaves):
            return Unknown()
        if not any(isinstance(leaf, Range) for leaf in leaves):
            return super().call_function(target, args, kwargs)
        if "sym_size" in str(target):
            return target(args[0].pos, *args[1:])
        rule = _RULES.get(target)
        made = rule(self, target, args, kwargs) if rule is not None else None
        if made is None:
            return self._inexact(f"{_name(target)} is no sum of products")
        return made

    def output(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Notes the bounds of what leaves the program."""
        for node, value in zip(self._node.all_input_nodes, _flat(args[0]), strict=False):
            if isinstance(value, Range):
                self._note(value, "output", node=node.name)
        return args[0]

    def _note(self, value: Range, kind: str, index: int | None = None, node: str = "") -> None:
        floor = log2(value.largest()) - LIMIT - value.gain
        self.found.append(
            Finding(node or self._node.name, index, kind, value.bits(), sources=value.sources, floor=floor)
        )

    def _inexact(self, why: str) -> Unknown:
        self.found.append(Finding(self._node.name, None, "inexact", math.inf, why=why))
        return Unknown()

    def linear(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A convolution or linear map with constant weights."""
        x, weight = args[0], args[1]
        if not isinstance(x, Range) or isinstance(weight, Range):
            return None
        index = self._linears.get(self._node.name)
        x = self._narrow(x, index)
        if index is not None:
            self.operand_grids[index] = float(x.grid.min())
        up, down = weight.clamp_min(0), (-weight).clamp_min(0)
        through = lambda value, part: target(value, part, None, *args[3:], **kwargs)  # noqa: E731
        pos, neg = through(x.pos, up), through(x.pos, down)
        if bool((x.neg > 0).any()):
            pos, neg = pos + through(x.neg, down), neg + through(x.neg, up)
        axis = pos.dim() - 1 if target is aten.linear.default else 1
        shape = [-1 if i == axis else 1 for i in range(pos.dim())]
        grid = self._weight_grid(weight, index) + float(x.grid.min())
        bias = args[2] if len(args) > 2 else None
        if bias is not None:
            pos, neg = pos + bias.clamp_min(0).reshape(shape), neg + (-bias).clamp_min(0).reshape(shape)
            grid = grid if self._nominal else torch.minimum(grid, lowest_bit(bias))
        sources = x.sources if index is None else frozenset({index})
        gain = x.gain + float(self._weight_grid(weight, index).min()) if index is None else 0.0
        made = Range(pos, neg, grid.reshape(shape).expand(pos.shape), sources, gain)
        self._note(made, "sum", index)
        if index is not None:
            self.largest[index] = made.largest()
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
        if plan is None or index is None or x.bits() <= plan.widest:
            return x
        limit = min(x.largest(), plan.observed.get(index, math.inf))
        exponent = int(top_exponent(torch.tensor(limit), 2**plan.operand_bits - 1)) if limit > 0 else 0
        limit = (2**plan.operand_bits - 1) * 2.0**exponent
        plan.operands[index] = (exponent, limit)
        grid = torch.full_like(x.grid, float(exponent))
        return Range(x.pos.clamp_max(limit), x.neg.clamp_max(limit), grid)

    def _neuron(self, target: Any, args: tuple[Any, ...]) -> Any:
        x, v0 = args[0], args[1]
        index = self._neurons[self._node.name]
        op = ops.NEURONS[target]
        settings = {name: args[place] for name, place in ops.PLACES[op].items()}
        if isinstance(x, Unknown):
            self.found.append(Finding(self._node.name, index, "inexact", math.inf, why="its input is rounded"))
            steps = self._steps
            spikes = torch.ones(steps, *v0.shape)
            return Range(spikes, torch.zeros_like(spikes), torch.zeros_like(spikes)), v0
        if not isinstance(x, Range):
            x = Range(x.clamp_min(0), (-x).clamp_min(0), lowest_bit(x))
        bounds = membrane(op, x.pos, x.neg, x.grid, settings, v0, x.pos.shape[0])
        found = Finding(self._node.name, index, "neuron", x.bits(), bounds, sources=x.sources)
        found.sum_floor = log2(x.largest()) - LIMIT - x.gain
        found.cap = log2(abs(float(settings["v_threshold"]))) - _FINEST_LOSS
        found.floor = max(min(bounds.floor, found.cap) - x.gain, found.sum_floor)
        found.gain = x.gain
        self.found.append(found)
        zeros = torch.zeros_like(x.pos)
        return Range(torch.ones_like(x.pos), zeros, zeros), v0

    def start(self, *inputs: Any) -> list[Finding]:
        """Runs the program; the first input is a Range, the rest are initial states."""
        with torch.no_grad():
            self.run(*inputs)
        return self.found


def _name(target: Any) -> str:
    return str(target).removesuffix(".default")


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _move(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation that only moves elements."""
    if target is operator.getitem:
        return args[0][args[1]]
    x = args[0]
    parts = [target(part, *args[1:], **kwargs) for part in (x.pos, x.neg, x.grid)]
    if isinstance(parts[0], list | tuple):
        return [replace(x, pos=p, neg=n, grid=g) for p, n, g in zip(*parts, strict=True)]
    return replace(x, pos=parts[0], neg=parts[1], grid=parts[2])


def _pad(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, pad = args[0], args[1]
    value = args[3] if target is aten.pad.default and len(args) > 3 else args[2] if len(args) > 2 else 0.0
    if value not in (None, 0, 0.0, "constant"):
        return None
    place = torch.constant_pad_nd
    return replace(x, pos=place(x.pos, pad), neg=place(x.neg, pad), grid=place(x.grid, pad, ANY))


def _as_range(value: Any) -> Range:
    if isinstance(value, Range):
        return value
    tensor = torch.as_tensor(value, dtype=torch.float32)
    return Range(tensor.clamp_min(0), (-tensor).clamp_min(0), lowest_bit(tensor))


def _add(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if kwargs.get("alpha", 1) != 1:
        return None
    a, b = _as_range(args[0]), _as_range(args[1])
    if target in (aten.sub.Tensor, aten.sub_.Tensor):
        b = replace(b, pos=b.neg, neg=b.pos)
    pos, neg = a.pos + b.pos, a.neg + b.neg
    grid = torch.minimum(a.grid, b.grid).expand(pos.shape)
    gains = [part.gain for part in (a, b) if part.sources]
    made = Range(pos, neg, grid, a.sources | b.sources, min(gains, default=0.0))
    run._note(made, "sum")
    return made


def _multiply(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    a, b = args[0], args[1]
    if target in ops.DIVIDES:
        if not isinstance(b, int | float) or not is_power_of_two(abs(b)):
            return None
        b = 1.0 / b
    if not isinstance(a, Range):
        a, b = b, a
    if isinstance(b, int | float):
        up, size, grid = b >= 0, abs(b), lowest_bit_of(b)
        made = replace(
            a, pos=(a.pos if up else a.neg) * size, neg=(a.neg if up else a.pos) * size, grid=a.grid + grid,
            gain=a.gain + grid,
        )  # fmt: skip
        if is_power_of_two(size):
            return made
    else:
        b = _as_range(b)
        pos, neg = a.pos * b.pos + a.neg * b.neg, a.pos * b.neg + a.neg * b.pos
        made = Range(pos, neg, (a.grid + b.grid).expand(pos.shape))
    run._note(made, "sum")
    return made


def _matmul(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    a, b = _as_range(args[0]), _as_range(args[1])
    pos, neg = target(a.pos, b.pos), target(a.pos, b.neg)
    if bool((a.neg > 0).any()):
        pos, neg = pos + target(a.neg, b.neg), neg + target(a.neg, b.pos)
    grid = torch.full_like(pos, float(a.grid.min()) + float(b.grid.min()))
    made = Range(pos, neg, grid)
    run._note(made, "sum")
    return made


def _sum(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    mean = target in ops.MEANS
    axes = args[1] if len(args) > 1 and args[1] is not None else list(range(x.pos.dim()))
    axes = [axes] if isinstance(axes, int) else list(axes)
    keep = bool(args[2]) if len(args) > 2 else False
    count = math.prod(x.pos.shape[axis] for axis in axes)
    made = replace(
        x, pos=x.pos.sum(axes, keep), neg=x.neg.sum(axes, keep), grid=x.grid.amin(axes, keepdim=keep)
    )  # fmt: skip
    run._note(made, "sum")
    if not mean:
        return made
    return _divided(made, count)


def _divided(x: Range, count: int) -> Range | None:
    if not is_power_of_two(count):
        return None
    shift = math.log2(count)
    return replace(x, pos=x.pos / count, neg=x.neg / count, grid=x.grid - shift, gain=x.gain - shift)


def _average_pool(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    count, kernel = ops.window_count(run._node)
    if kernel is None:
        return None
    pos, neg = target(x.pos, *args[1:]), target(x.neg, *args[1:])
    finest = x.grid.amin((-2, -1), keepdim=True).expand(pos.shape)
    made = replace(x, pos=pos * count, neg=neg * count, grid=finest)
    run._note(made, "sum")
    return _divided(made, count)


def _max_pool(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    pool = lambda value: target(value, *args[1:], **kwargs)  # noqa: E731
    return replace(x, pos=pool(x.pos), neg=pool(x.neg), grid=-pool(-x.grid))


def _relu(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return replace(args[0], neg=torch.zeros_like(args[0].neg))


def _clamp(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    low = args[1] if len(args) > 1 else {aten.hardtanh.default: -1.0, aten.hardtanh_.default: -1.0}.get(target)
    high = args[2] if len(args) > 2 else {aten.clamp.default: None, aten.relu6.default: 6.0}.get(target, 1.0)
    low = 0.0 if target is aten.relu6.default else low
    grid = x.grid
    pos, neg = x.pos, x.neg
    if high is not None:
        pos, grid = pos.clamp_max(max(high, 0.0)), grid.clamp_max(lowest_bit_of(high))
        neg = neg.clamp_min(max(-high, 0.0))
    if low is not None:
        neg, grid = neg.clamp_max(max(-low, 0.0)), grid.clamp_max(lowest_bit_of(low))
        pos = pos.clamp_min(max(low, 0.0))
    return replace(x, pos=pos, neg=neg, grid=grid)


def _round(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    return replace(x, pos=torch.round(x.pos), neg=torch.round(x.neg), grid=x.grid.clamp_min(0.0))


def _join(run: Ranges, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    parts = [_as_range(part) for part in args[0]]
    join = [target([getattr(part, name) for part in parts], *args[1:], **kwargs) for name in ("pos", "neg", "grid")]
    sources = frozenset().union(*(part.sources for part in parts))
    return Range(*join, sources, min((part.gain for part in parts if part.sources), default=0.0))


_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(ops.MOVES, _move),
    **dict.fromkeys(ops.LINEARS, Ranges.linear),
    **dict.fromkeys(ops.ADDS | {aten.add.Scalar, aten.sub.Scalar}, _add),
    **dict.fromkeys(ops.MULTIPLIES, _multiply),
    **dict.fromkeys(ops.MATMULS, _matmul),
    **dict.fromkeys({aten.sum.dim_IntList, *ops.MEANS}, _sum),
    **dict.fromkeys(ops.AVERAGE_POOLS, _average_pool),
    **dict.fromkeys(ops.MAX_POOLS, _max_pool),
    **dict.fromkeys(ops.RELUS, _relu),
    **dict.fromkeys(ops.CLAMPS, _clamp),
    **dict.fromkeys({aten.cat.default, aten.stack.default}, _join),
    **dict.fromkeys({aten.pad.default, aten.constant_pad_nd.default}, _pad),
    aten.round.default: _round,
}
