"""Spikes of a program as tokens `[T, B, N, C]`, and back: how they may lie there, and what they are moved from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from neurokit.program.fusions import Site, shape_of
from neurokit.program.ops import Kind, is_kind, is_named

#: Where channels are: `[T, B, C, ...]`, `[T, B, ..., C]`, or by heads `[T, B, heads, C / heads, N]`.
LAYOUTS = ("first", "last", "heads")


def fits(layout: str, axes: int) -> bool:
    """Returns whether a tensor of so many axes may lie in this way."""
    return axes == 5 if layout == "heads" else axes >= 4


def as_tokens(x: Tensor, steps: int, layout: str) -> Tensor:
    """Returns a view `[T, B, N, C]` of a value of a program."""
    x = x.reshape(steps, -1, *x.shape[2:])
    if layout == "last":
        return x.flatten(2, -2)
    return x.flatten(*((2, 3) if layout == "heads" else (3, -1))).transpose(2, 3)


def from_tokens(tokens: Tensor, layout: str, rest: Sequence[int]) -> Tensor:
    """Returns tokens as a value of a program, `rest` its sizes behind time and batch."""
    moved = tokens if layout == "last" else tokens.transpose(2, 3)
    return moved.reshape(tokens.shape[0], -1, *rest)


def moved_from(node: Any) -> tuple[Any, list[Node]]:
    """Returns what a value is moved from, element by element, and the moves, the last one first."""
    moves = []
    while is_kind(node, Kind.MOVE, Kind.KEEP) and not is_named(node, ("getitem",)):
        moves.append(node)
        node = node.args[0]
    return node, moves


def scaled_from(node: Any) -> tuple[Any, float, list[Node]]:
    """Returns what a value is moved from, its factor (1 of none), and the nodes between, the last one first."""
    top, inside = moved_from(node)
    if not (is_named(top, ("mul",)) and isinstance(top.args[1], int | float)):
        return top, 1.0, inside
    below, between = moved_from(top.args[0])
    return below, float(top.args[1]), [*inside, top, *between]


def turned_from(node: Any) -> tuple[Any, list[Node]]:
    """Returns what a value is all elements of, in another order, and the moves, the last one first."""
    source, moves = moved_from(node)
    path = [*moves, source]
    count = math.prod(shape_of(node))
    for at, one in enumerate(path[1:], 1):
        if not isinstance(one, Node) or math.prod(shape_of(one)) != count:
            return path[at - 1], moves[: at - 1]
    return source, moves


def first_channels(site: Site, whole: Node, parts: Sequence[Node], lies: str, layout: str) -> tuple[int, ...] | None:
    """Returns the first channel of each part in one tensor, or None where a part is no channels in a row of it.

    Args:
        site: Where in the program.
        whole: The tensor, which lies as `lies` says.
        parts: Values that are some of its elements, which lie as `layout` says.
        lies: A layout.
        layout: A layout.
    """
    shape = shape_of(whole)
    tokens = as_tokens(torch.zeros(shape), shape[0], lies)
    numbered = torch.arange(tokens.shape[3]).float().expand(tokens.shape)
    known = {whole: from_tokens(numbered, lies, shape[2:])}
    firsts = []
    for one in parts:
        part = as_tokens(site.value(known, one), shape[0], layout)
        first = int(part.min())
        if not torch.equal(part, torch.arange(first, first + part.shape[3]).float().expand(part.shape)):
            return None
        firsts.append(first)
    return tuple(firsts)


def part_of(node: Any) -> Node:
    """Returns the tensor that a value is some elements of."""
    while True:
        node, _ = moved_from(node)
        below: Any = node.args[0] if is_named(node, ("getitem",)) else None
        if below is None or not is_kind(below, Kind.MOVE):
            return node  # type: ignore[no-any-return]
        node = below.args[0]
