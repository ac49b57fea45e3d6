"""Holds rounded operands of products as whole numbers: int8, those from 0 to 255 less 128, or float16."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import GraphModule, Node

from neurokit.program.fusions import REWRITES, through_reshapes
from neurokit.program.grids import LESS, RANGE, Grid, grid_at
from neurokit.program.nodes import aten, convolution_settings, is_max_pool, is_op, is_weighted
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.passes.base import Pass
from neurokit.program.passes.limits import limits_of


@dataclass(frozen=True)
class _Operand:
    """A rounded operand of a product.

    Attributes:
        product: Who multiplies it.
        grid: Its rounding.
        moved: The reshapes between both, the first one last.
    """

    product: Node
    grid: Grid
    moved: tuple[Node, ...]


def _operands(module: GraphModule) -> list[_Operand]:
    """Returns the rounded operands of products whose numbers are int8, or float16's."""
    found = []
    for node in module.graph.nodes:
        if is_weighted(node):
            source, moved = through_reshapes(node.args[0])
            grid = grid_at(source)
            if grid is not None and (grid.fits_int8 or grid.fits_half):
                found.append(_Operand(node, grid, tuple(moved)))
    return found


def _not_negative(node: Any) -> bool:
    """Returns whether a value is known to have no element below zero: of a ReLU, moved or maximised."""
    while isinstance(node, Node):
        limits = limits_of(node)
        if limits is not None:
            return limits[0] >= 0.0
        if not (is_kind(node, Kind.MOVE, Kind.KEEP) or is_max_pool(node)) or not node.all_input_nodes:
            return False
        node = node.args[0]
    return False


def _narrowed(grid: Grid) -> Grid:
    """Returns a rounding with zero for the least limit, where nothing that it is given is less."""
    limited = is_op(grid.nodes[-1], {aten.clamp.default})
    below = limited and grid.low is not None and grid.low < 0.0
    return replace(grid, low=0.0) if below and _not_negative(grid.source) else grid


def _in_bytes(module: GraphModule, operands: Iterable[_Operand]) -> set[Node]:
    """Returns the products that are given numbers from 0 to 255 less 128: those whose kernel has them so.

    One rounding has one form for all who read it. An image is no layer's result, and a depthwise convolution's kernel
    puts out float16.
    """
    takes = [rewrite.bytes for _, rewrite in REWRITES.items() if rewrite.bytes is not None]

    def fits(one: _Operand) -> bool:
        grid, source = _narrowed(one.grid), one.grid.source
        known = grid.fits_byte and not grid.fits_int8 and source.op != "placeholder" and not _depthwise(source)
        return known and not one.moved and any(take(module, one.product) for take in takes)

    def key(one: _Operand) -> tuple[str, ...]:
        return (one.grid.source.name, *map(str, one.grid.keywords.values()))

    found: set[Node] = set()
    for _, group in itertools.groupby(sorted(operands, key=key), key):
        alike = list(group)
        if all(map(fits, alike)):
            found |= {one.product for one in alike}
    return found


def _depthwise(node: Node) -> bool:
    return is_named(node, ("conv2d",)) and convolution_settings(node)[3] > 1


def _hold(module: GraphModule) -> None:
    graph, operands = module.graph, _operands(module)
    in_bytes = _in_bytes(module, operands)
    for one in operands:
        less = LESS if one.product in in_bytes else 0
        grid = _narrowed(one.grid) if less else one.grid
        whole: Any = grid.nodes[1]
        kind = torch.int8 if less or grid.fits_int8 else torch.float16
        known = {RANGE: tuple(number - less for number in grid.range)}
        with graph.inserting_before(one.product):
            if less:
                if grid is not one.grid:
                    grid.nodes[-1].update_arg(1, 0.0)
                value = whole.meta["val"]
                whole = graph.call_function(aten.sub.Tensor, (whole, less))
                whole.meta["val"] = value
            held = graph.call_function(aten.to.dtype, (whole, kind))
            held.meta |= {"val": whole.meta["val"].to(kind), **known}
            for reshape in reversed(one.moved):
                held = graph.call_function(reshape.target, (held, *reshape.args[1:]), reshape.kwargs)  # type: ignore[arg-type]
                held.meta |= {"val": reshape.meta["val"].to(kind), **known}
            wide = graph.call_function(aten.to.dtype, (held, torch.float32))
            wide.meta["val"] = held.meta["val"].float()
            if less:
                wide = graph.call_function(aten.add.Tensor, (wide, less))
                wide.meta["val"] = held.meta["val"].float()
            operand = graph.call_function(aten.mul.Tensor, (wide, grid.unit))
        operand.meta["val"] = held.meta["val"].float()
        one.product.update_arg(0, operand)
    graph.eliminate_dead_code()


def _unheld(module: GraphModule) -> list[str]:
    return [f"{one.product.name} is given rounded numbers as float32" for one in _operands(module)]


LEVELS = Pass("hold rounded operands of products as int8, or as float16", _hold, after=_unheld)
