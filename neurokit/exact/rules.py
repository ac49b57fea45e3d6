"""How each operation turns the bounds of its inputs into those of its result."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch

from neurokit.exact.bounds import CONSTANT, Range, as_range
from neurokit.exact.dyadic import ANY, is_power_of_two, lowest_bit_of
from neurokit.program import ops
from neurokit.program.ops import aten


class Walk(Protocol):
    """What a rule needs of the walk through the program."""

    node: Any

    def note(self, value: Range, kind: str) -> None:
        """Notes the bounds of a sum."""
        ...

    def rounded(self, value: Range) -> Range:
        """Returns a product as the plan will round it."""
        ...


def _move(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation that only moves elements."""
    if target is operator.getitem:
        return args[0][args[1]]
    x = args[0]
    parts = [target(part, *args[1:], **kwargs) for part in (x.pos, x.neg, x.grid)]
    if isinstance(parts[0], list | tuple):
        return [replace(x, pos=p, neg=n, grid=g) for p, n, g in zip(*parts, strict=True)]
    return replace(x, pos=parts[0], neg=parts[1], grid=parts[2])


def _pad(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, pad = args[0], args[1]
    value = args[3] if target is aten.pad.default and len(args) > 3 else args[2] if len(args) > 2 else 0.0
    if value not in (None, 0, 0.0, "constant"):
        return None
    place = torch.constant_pad_nd
    return replace(x, pos=place(x.pos, pad), neg=place(x.neg, pad), grid=place(x.grid, pad, ANY))


def _add(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if kwargs.get("alpha", 1) != 1:
        return None
    a, b = (_summand(arg) for arg in args[:2])
    if target in (aten.sub.Tensor, aten.sub_.Tensor):
        b = replace(b, pos=b.neg, neg=b.pos)
    pos, neg = a.pos + b.pos, a.neg + b.neg
    grid = torch.minimum(a.grid, b.grid).expand(pos.shape)
    gains = [part.gain for part in (a, b) if part.sources]
    made = Range(pos, neg, grid, a.sources | b.sources, min(gains, default=0.0))
    run.note(made, "sum")
    return made


def _summand(value: Any) -> Range:
    """Returns a term of a sum; a tensor of constants is a source whose grid stays as it is."""
    found = as_range(value)
    return replace(found, sources=frozenset({CONSTANT})) if isinstance(value, torch.Tensor) else found


def _multiply(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
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
            a,
            pos=(a.pos if up else a.neg) * size,
            neg=(a.neg if up else a.pos) * size,
            grid=a.grid + grid,
            gain=a.gain + grid,
        )
        if is_power_of_two(size):
            return made
        run.note(made, "sum")
        return run.rounded(made)
    constant = isinstance(b, torch.Tensor)
    b = as_range(b)
    pos, neg = a.pos * b.pos + a.neg * b.neg, a.pos * b.neg + a.neg * b.pos
    made = Range(pos, neg, (a.grid + b.grid).expand(pos.shape))
    if constant:
        made = replace(made, sources=a.sources, gain=a.gain + min(float(b.grid.min()), 0.0))
        run.note(made, "sum")
        return run.rounded(made)
    run.note(made, "sum")
    return made


def _matmul(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    a, b = as_range(args[0]), as_range(args[1])
    pos, neg = target(a.pos, b.pos), target(a.pos, b.neg)
    if bool((a.neg > 0).any()):
        pos, neg = pos + target(a.neg, b.neg), neg + target(a.neg, b.pos)
    grid = torch.full_like(pos, float(a.grid.min()) + float(b.grid.min()))
    made = Range(pos, neg, grid)
    run.note(made, "sum")
    return made


def _sum(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    mean = target in ops.MEANS
    axes = args[1] if len(args) > 1 and args[1] is not None else list(range(x.pos.dim()))
    axes = [axes] if isinstance(axes, int) else list(axes)
    keep = bool(args[2]) if len(args) > 2 else False
    count = math.prod(x.pos.shape[axis] for axis in axes)
    made = replace(x, pos=x.pos.sum(axes, keep), neg=x.neg.sum(axes, keep), grid=x.grid.amin(axes, keepdim=keep))
    run.note(made, "sum")
    if not mean:
        return made
    return _divided(made, count)


def _divided(x: Range, count: int) -> Range | None:
    if not is_power_of_two(count):
        return None
    shift = math.log2(count)
    return replace(x, pos=x.pos / count, neg=x.neg / count, grid=x.grid - shift, gain=x.gain - shift)


def _average_pool(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    count, kernel = ops.window_count(run.node)
    if kernel is None:
        return None
    pos, neg = target(x.pos, *args[1:]), target(x.neg, *args[1:])
    finest = x.grid.amin((-2, -1), keepdim=True).expand(pos.shape)
    made = replace(x, pos=pos * count, neg=neg * count, grid=finest)
    run.note(made, "sum")
    return _divided(made, count)


def _max_pool(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    pool = lambda value: target(value, *args[1:], **kwargs)  # noqa: E731
    return replace(x, pos=pool(x.pos), neg=pool(x.neg), grid=-pool(-x.grid))


def _relu(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return replace(args[0], neg=torch.zeros_like(args[0].neg))


def _clamp(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
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


def _round(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    return replace(x, pos=torch.round(x.pos), neg=torch.round(x.neg), grid=x.grid.clamp_min(0.0))


def _join(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    parts = [as_range(part) for part in args[0]]
    join = [target([getattr(part, name) for part in parts], *args[1:], **kwargs) for name in ("pos", "neg", "grid")]
    sources = frozenset().union(*(part.sources for part in parts))
    return Range(*join, sources, min((part.gain for part in parts if part.sources), default=0.0))


RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(ops.MOVES, _move),
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
