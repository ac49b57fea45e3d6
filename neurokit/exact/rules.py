"""How each operation turns the bounds of its inputs into those of its result."""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import Any

import torch

from neurokit.exact import choices
from neurokit.exact.bounds import Range, Walk, as_range, as_term
from neurokit.exact.dyadic import ANY, is_power_of_two, lowest_bit_of
from neurokit.program import nodes
from neurokit.program.ops import LOOK_UPS, Kind, kind_of, names_of
from neurokit.program.walk import Rule


def _move(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation that only moves elements."""
    if target is operator.getitem:
        return args[0][args[1]]
    x = args[0]
    if names_of(target)[1] in LOOK_UPS and (found := choices.looked_up(target, x, args)) is not None:
        return found
    if not isinstance(x, Range):
        return None
    rest = [part.pos if isinstance(part, Range) else part for part in args[1:]]  # of which the shape is read
    parts = [target(part, *rest, **kwargs) for part in (x.pos, x.neg, x.grid)]
    if isinstance(parts[0], list | tuple):
        return [replace(x, pos=p, neg=n, grid=g) for p, n, g in zip(*parts, strict=True)]
    return replace(x, pos=parts[0], neg=parts[1], grid=parts[2])


def _cast(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A change of element type that every number survives, or one to whole numbers, which cuts digits off."""
    x = args[0]
    if not isinstance(x, Range):
        return None
    kinds = [part for part in (*args[1:], *kwargs.values()) if isinstance(part, torch.dtype)]
    kind = kinds[0] if kinds else torch.float32 if names_of(target)[1] == "float" else run.node.meta["val"].dtype
    if kind in (torch.float32, torch.float64):
        return x
    if kind is torch.bool:
        return choices.bits(x.pos)
    if kind.is_floating_point or kind.is_complex:
        return None
    limits = torch.iinfo(kind)
    if bool((torch.floor(x.pos) > limits.max).any()) or bool((torch.floor(x.neg) > -limits.min).any()):
        return None  # what does not fit is another number on every target
    return Range(torch.floor(x.pos), torch.floor(x.neg), x.grid.clamp_min(0.0), x.sources, x.gain)


def _pad(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Padding by elements of the tensor, or by a constant, which lies on its own grid."""
    x, pad = args[0], args[1]
    given = {"mode": "constant", "value": None, **dict(zip(("mode", "value"), args[2:], strict=False)), **kwargs}
    if names_of(target)[1] == "constant_pad_nd":
        given = {"mode": "constant", "value": args[2] if len(args) > 2 else kwargs.get("value")}
    if names_of(target)[1] not in ("pad", "constant_pad_nd") or given["mode"] != "constant":
        return _move(run, target, args, kwargs)
    value = float(given["value"] or 0.0)
    place = torch.constant_pad_nd
    return replace(
        x,
        pos=place(x.pos, pad, max(value, 0.0)),
        neg=place(x.neg, pad, max(-value, 0.0)),
        grid=place(x.grid, pad, lowest_bit_of(value) if value else ANY),
    )


def _add(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = names_of(target)[1].removesuffix("_")
    if kwargs.get("alpha", 1) != 1 or len(args) > 2:
        return None
    a, b = (as_term(arg) for arg in args[:2])
    if name == "rsub":
        a, b = b, a
    if name != "add":
        b = replace(b, pos=b.neg, neg=b.pos)
    pos, neg = a.pos + b.pos, a.neg + b.neg
    grid = torch.minimum(a.grid, b.grid).expand(pos.shape)
    gains = [part.gain for part in (a, b) if part.sources]
    made = Range(pos, neg, grid, a.sources | b.sources, min(gains, default=0.0))
    run.note(made, "sum")
    return made


def _multiply(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    a, b = args[0], args[1]
    if kind_of(target) is Kind.DIVIDE:
        if not isinstance(b, int | float) or not is_power_of_two(abs(b)) or kwargs.get("rounding_mode"):
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
    if names_of(target)[1] == "einsum":
        return None
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
    mean = names_of(target)[1] == "mean"
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
    count, kernel = nodes.window_count(run.node)
    if kernel is None:
        return None
    pos, neg = target(x.pos, *args[1:]), target(x.neg, *args[1:])
    finest = x.grid.amin((-2, -1), keepdim=True).expand(pos.shape)
    made = replace(x, pos=pos * count, neg=neg * count, grid=finest)
    run.note(made, "sum")
    return _divided(made, count)


def _largest(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The largest or smallest of several: within what any of them can be, on the finest of their grids."""
    _, name, overload = names_of(target)
    if name in ("maximum", "minimum") or overload == "other":
        a, b = as_range(args[0]), as_range(args[1])
        pos, neg = torch.maximum(a.pos, b.pos), torch.maximum(a.neg, b.neg)
        gains = [part.gain for part in (a, b) if part.sources]
        return Range(
            pos, neg, torch.minimum(a.grid, b.grid).expand(pos.shape), a.sources | b.sources, min(gains, default=0.0)
        )
    x = args[0]
    if nodes.is_max_pool(run.node):
        pool = lambda value: target(value, *args[1:], **kwargs)  # noqa: E731
        return replace(x, pos=pool(x.pos), neg=pool(x.neg), grid=-pool(-x.grid))
    if name in ("amax", "amin"):
        settings = (args[1] if len(args) > 1 else [], bool(args[2]) if len(args) > 2 else False)
        return replace(x, pos=x.pos.amax(*settings), neg=x.neg.amax(*settings), grid=x.grid.amin(*settings))
    return None


def _sign(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    if names_of(target)[1].startswith("neg"):
        return replace(x, pos=x.neg, neg=x.pos)
    return replace(x, pos=torch.maximum(x.pos, x.neg), neg=torch.zeros_like(x.neg))


def _limit(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A limit cuts the range, and its ends lie on grids of their own."""
    x = args[0]
    name = names_of(target)[1].removesuffix("_")
    if name == "relu":
        return replace(x, neg=torch.zeros_like(x.neg))
    first = args[1] if len(args) > 1 else None
    second = args[2] if len(args) > 2 else None
    low, high = kwargs.get("min", first), kwargs.get("max", second)
    if name == "hardtanh":
        low = kwargs.get("min_val", -1.0 if first is None else first)
        high = kwargs.get("max_val", 1.0 if second is None else second)
    if name == "relu6":
        low, high = 0.0, 6.0
    if name == "clamp_max":
        low, high = None, kwargs.get("max", first)
    if any(isinstance(end, torch.Tensor | Range) for end in (low, high)):
        return None
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
    if names_of(target)[1] != "round" or kwargs.get("decimals"):
        return None
    return replace(x, pos=torch.round(x.pos), neg=torch.round(x.neg), grid=x.grid.clamp_min(0.0))


def _join(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    parts = [as_range(part) for part in args[0]]
    pos, neg, grid = (
        target([getattr(part, name) for part in parts], *args[1:], **kwargs) for name in ("pos", "neg", "grid")
    )
    sources = frozenset(source for part in parts for source in part.sources)
    return Range(pos, neg, grid, sources, min((part.gain for part in parts if part.sources), default=0.0))


#: One rule a kind of operation; convolutions and linear maps are the walk's own. What has none is not exact.
RULES: dict[Kind, Rule] = {
    **dict.fromkeys((Kind.MOVE, Kind.KEEP), _move),
    Kind.CAST: _cast,
    Kind.COMPARE: choices.compare,
    Kind.CHOOSE: choices.choose,
    Kind.MIXED: choices.mixed,
    Kind.PAD: _pad,
    Kind.JOIN: _join,
    Kind.SIGN: _sign,
    Kind.LIMIT: _limit,
    Kind.ROUND: _round,
    Kind.MAXIMUM: _largest,
    Kind.ADD: _add,
    Kind.MULTIPLY: _multiply,
    Kind.DIVIDE: _multiply,
    Kind.PRODUCT: _matmul,
    Kind.SUM: _sum,
    Kind.POOL: _average_pool,
}
