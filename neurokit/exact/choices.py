"""Bounds of what is chosen, compared, looked up and found: elements stay what they are, and conditions are exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from neurokit.exact.bounds import Range, Walk, as_range, as_term
from neurokit.exact.dyadic import ANY
from neurokit.program import nodes
from neurokit.program.ops import names_of
from neurokit.program.walk import Rule


def looked_up(target: Any, x: Any, args: tuple[Any, ...]) -> Range | None:
    """Elements at places that are computed: any of them, wherever it stands."""
    if not any(isinstance(leaf, Range) for leaf in torch.utils._pytree.tree_leaves(args[1:])):
        return None
    places = torch.utils._pytree.tree_map(
        lambda leaf: leaf.pos.long() * 0 if isinstance(leaf, Range) else leaf, args[1:]
    )
    x = as_term(x)
    shape = target(x.pos, *places)
    return replace(
        x,
        pos=torch.full_like(shape, float(x.pos.max())),
        neg=torch.full_like(shape, float(x.neg.max())),
        grid=torch.full_like(shape, float(x.grid.min()), dtype=torch.float64),
    )


def bits(like: torch.Tensor) -> Range:
    """Returns the range of zeros and ones of a shape."""
    return Range(torch.ones_like(like), torch.zeros_like(like), torch.zeros_like(like, dtype=torch.float64))


_COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
_LOGICAL = ("logical_and", "logical_or", "logical_xor", "logical_not")
_BITWISE = ("__and__", "__or__", "__xor__", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")


def compare(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A comparison of exact numbers, or logic on them: zeros and ones, the same everywhere."""
    name = names_of(target)[1]
    name = name if name in _BITWISE else name.removesuffix("_")
    operands = args[:1] if name in ("logical_not", "bitwise_not", "sign") else args[:2]
    if not all(isinstance(part, Range | torch.Tensor | int | float) for part in operands):
        return None
    size = sum((as_range(part).pos for part in operands), start=torch.zeros(()))
    if name == "sign":
        return replace(bits(size), neg=torch.ones_like(size))
    logical = name in _LOGICAL or (name in _BITWISE and run.node.meta["val"].dtype is torch.bool)
    return bits(size) if logical or (name in _COMPARISONS and len(operands) == 2) else None


def choose(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Elements of one tensor or another, by exact conditions: within what either can be, on the finer of both grids."""
    if len(args) < 3:
        return None
    condition, options = (args[0], args[1:3]) if names_of(target)[1] == "where" else (args[1], (args[0], args[2]))
    a, b = (as_term(option) for option in options)
    if not all(bool(torch.isfinite(part).all()) for part in (a.pos, a.neg, b.pos, b.neg)):
        return None
    shape = torch.broadcast_shapes(a.pos.shape, b.pos.shape, as_range(condition).pos.shape)
    gains = [part.gain for part in (a, b) if part.sources]
    return Range(
        torch.maximum(a.pos, b.pos).expand(shape),
        torch.maximum(a.neg, b.neg).expand(shape),
        torch.minimum(a.grid, b.grid).expand(shape),
        a.sources | b.sources,
        min(gains, default=0.0),
    )


def _place(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The place of the largest or smallest of exact numbers along one axis: of equal ones the first, everywhere."""
    x = args[0]
    axis = args[1] if len(args) > 1 else kwargs.get("dim")
    if axis is None:
        return None  # the place among all elements depends on the batch
    shape = torch.argmax(x.pos, axis, bool(args[2]) if len(args) > 2 else kwargs.get("keepdim", False)).float()
    return replace(bits(shape), pos=torch.full_like(shape, x.pos.shape[axis] - 1))


def _with_place(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The largest or smallest along an axis, and where it is."""
    x, axis = args[0], args[1]
    keep = bool(args[2]) if len(args) > 2 else kwargs.get("keepdim", False)
    largest = replace(x, pos=x.pos.amax(axis, keep), neg=x.neg.amax(axis, keep), grid=x.grid.amin(axis, keep))
    return [largest, _place(run, target, (x, axis, keep), {})]


def _unfold(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Windows side by side, with zeros around the picture, which lie on any grid."""
    x = args[0]
    grid = target((x.grid - ANY), *args[1:], **kwargs) + ANY
    return replace(x, pos=target(x.pos, *args[1:], **kwargs), neg=target(x.neg, *args[1:], **kwargs), grid=grid)


def _one_hot(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A one in the place that an exact whole number says."""
    return bits(torch.zeros(*args[0].pos.shape, nodes.hints(run.node)[-1]))


def _written(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A part of a tensor written over by another."""
    a, b = as_term(args[0]), as_term(args[1])
    pos, neg, grid = (
        target(getattr(a, name), getattr(b, name).to(getattr(a, name).dtype), *args[2:], **kwargs)
        for name in ("pos", "neg", "grid")
    )
    gains = [part.gain for part in (a, b) if part.sources]
    return Range(pos, neg, grid, a.sources | b.sources, min(gains, default=0.0))


_MIXED: dict[str, Rule] = {
    "one_hot": _one_hot,
    **dict.fromkeys(("argmax", "argmin"), _place),
    **dict.fromkeys(("max.dim", "min.dim"), _with_place),
    "im2col": _unfold,
    **dict.fromkeys(("select_scatter", "slice_scatter"), _written),
}


def mixed(run: Walk, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Operations on many elements that have a rule of their own, by name."""
    _, name, overload = names_of(target)
    rule = _MIXED.get(name) or _MIXED.get(f"{name}.{overload}")
    return (
        None
        if rule is None or not any(isinstance(part, Range) for part in args[:2])
        else rule(run, target, args, kwargs)
    )
