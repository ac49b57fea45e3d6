"""Roundings to a grid of powers of two, as exact numerics write them into a program."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

from neurokit.program.nodes import aten, is_max_pool, is_op
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.passes.base import Pass

_INT8 = (-128.0, 127.0)
_HALF = 2048.0  # whole numbers up to it are float16's
_BYTE = 255.0
LESS = 128  # what is subtracted of numbers from 0 to 255, so that int8 holds them
RANGE = "levels"  # in what is known of a node: the least and the largest whole number that it holds


@dataclass(frozen=True)
class Grid:
    """A rounding: `round(clamp(source, low, high) / unit) * unit`.

    Attributes:
        source: What is rounded.
        unit: A power of two.
        low: Least value in front of the rounding, or None.
        high: Largest, or None.
        nodes: The operations, the last (whose value is the rounded one) first.
    """

    source: Node
    unit: float
    low: float | None
    high: float | None
    nodes: tuple[Node, ...]

    @property
    def fits_int8(self) -> bool:
        """Whether every rounded value is an int8 times the unit."""
        return self._within(*_INT8)

    @property
    def fits_half(self) -> bool:
        """Whether every rounded value is a float16 times the unit."""
        return self._within(-_HALF, _HALF)

    @property
    def fits_byte(self) -> bool:
        """Whether every rounded value is a number from 0 to 255 times the unit."""
        return self._within(0.0, _BYTE)

    @property
    def keywords(self) -> dict[str, float | None]:
        """The rounding as kernels take it."""
        return {"grid": self.unit, "low": self.low, "high": self.high}

    @property
    def range(self) -> tuple[int, int]:
        """The least and the largest whole number of one with both limits."""
        assert self.low is not None
        assert self.high is not None
        return round(self.low / self.unit), round(self.high / self.unit)

    def _within(self, least: float, most: float) -> bool:
        if self.low is None or self.high is None:
            return False
        return least <= self.low / self.unit and self.high / self.unit <= most


def grid_at(node: Any) -> Grid | None:
    """Returns the rounding whose result a node is, or None."""
    unit = _factor(node)
    below = grid_below(node.args[0]) if unit is not None else None
    return None if below is None or below.unit != unit else replace(below, nodes=(node, *below.nodes))


def grid_below(rounded: Any) -> Grid | None:
    """Returns the rounding whose whole numbers a node is, or None."""
    if not is_op(rounded, {aten.round.default}):
        return None
    scaled = rounded.args[0]
    inverse = _factor(scaled)
    if inverse is None or inverse <= 0 or math.frexp(inverse)[0] != 0.5:
        return None
    unit, source, nodes = 1.0 / inverse, scaled.args[0], (rounded, scaled)
    if is_op(source, {aten.clamp.default}) and not source.kwargs:
        low, high = [*source.args[1:], None, None][:2]
        if all(value is None or isinstance(value, int | float) for value in (low, high)):
            return Grid(source.args[0], unit, low, high, (*nodes, source))
    return Grid(source, unit, None, None, nodes)


class Held(NamedTuple):
    """What a value is the product of: numbers as int8 or float16, and a power of two.

    Attributes:
        node: The numbers, less `less`.
        unit: The power of two.
        less: What was subtracted of them to be held: 128 of those from 0 to 255 in int8, else 0.
    """

    node: Node
    unit: float
    less: int = 0


def levels_at(node: Any) -> Held | None:
    """Returns the int8 or float16 tensor and the power of two whose product a node is, or None."""
    unit = _factor(node)
    cast: Any = node.args[0] if unit is not None else None
    less = LESS if _shifts(cast, "add") else 0
    cast = cast.args[0] if less else cast
    if not (is_op(cast, {aten.to.dtype}) and cast.args[1] == torch.float32):
        return None
    held = cast.args[0]
    value = held.meta.get("val")
    kinds = (torch.int8,) if less else (torch.int8, torch.float16)
    if unit is None or getattr(value, "dtype", None) not in kinds or math.frexp(unit)[0] != 0.5:
        return None
    return Held(held, unit, less)


def _shifts(node: Any, name: str) -> bool:
    """Returns whether a node adds ("add") or subtracts ("sub") what numbers from 0 to 255 are less."""
    return is_named(node, (name,)) and len(node.args) == 2 and not node.kwargs and node.args[1] == LESS


def _factor(node: Any) -> float | None:
    """Returns the number that a node multiplies one tensor by."""
    if not (is_named(node, ("mul",)) and len(node.args) == 2 and not node.kwargs):
        return None
    return float(node.args[1]) if isinstance(node.args[1], int | float) and isinstance(node.args[0], Node) else None


@dataclass(frozen=True)
class Levels:
    """A rounding whose whole numbers are held as int8 or float16.

    Attributes:
        node: Those numbers.
        grid: The rounding.
        nodes: The operations from what is rounded up to the numbers, these first.
        less: What is subtracted of the numbers: 128 of those from 0 to 255 in int8, else 0.
    """

    node: Node
    grid: Grid
    nodes: tuple[Node, ...]
    less: int = 0

    @property
    def kind(self) -> torch.dtype:
        """The type that holds them."""
        found: torch.dtype = self.node.meta["val"].dtype
        return found


def levels_behind(source: Node) -> Levels | None:
    """Returns the first rounding of a value to numbers that are held as int8 or float16, or None.

    What lies between is read by nothing else. The value itself may have other users.
    """
    for first in source.users:
        nodes, last = [first], first
        less = 0
        for name in ("mul", "round", "sub", "to"):
            only = next(iter(last.users)) if len(last.users) == 1 else None
            if name == "sub":
                less = LESS if _shifts(only, "sub") else 0
            if only is None or not is_named(only, (name,)):
                if name == "sub":
                    continue
                break
            last = only
            nodes.append(last)
        held = is_op(last, {aten.to.dtype}) and last.args[1] in (torch.int8, torch.float16)
        whole: Any = last.args[0] if held else None
        grid = grid_below(whole.args[0] if less else whole)
        if grid is not None and grid.source is source and grid.nodes[-1] is first:
            fits = grid.fits_byte if less else grid.fits_int8 if last.args[1] == torch.int8 else grid.fits_half
            if fits:
                return Levels(last, grid, tuple(reversed(nodes)), less)
    return None


def _unit_of(node: Any) -> float | None:
    """Returns the power of two whose multiples a value is known to hold: of a rounding, moved or maximised."""
    while isinstance(node, Node):
        grid = grid_at(node)
        if grid is not None:
            return grid.unit
        if not (is_kind(node, Kind.MOVE, Kind.KEEP) or is_max_pool(node)) or not node.all_input_nodes:
            return None
        node = node.args[0]
    return None


def _repeated(graph: GraphModule) -> list[tuple[Node, Grid]]:
    """Returns the roundings, without limits, of what is on their grid or a coarser one already."""
    found = []
    for node in graph.graph.nodes:
        grid = grid_at(node)
        if grid is not None and grid.low is None and grid.high is None:
            unit = _unit_of(grid.source)
            if unit is not None and unit >= grid.unit:
                found.append((node, grid))
    return found


def _drop(module: GraphModule) -> None:
    for node, grid in _repeated(module):
        node.replace_all_uses_with(grid.source)
    module.graph.eliminate_dead_code()


def _repeats(module: GraphModule) -> list[str]:
    return [f"{node.name} rounds what is rounded" for node, _ in _repeated(module)]


ROUNDED_ONCE = Pass("leave out roundings of what is on their grid already", _drop, after=_repeats)
