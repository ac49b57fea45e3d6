"""Writes limits one behind the other as one, and operations that stand twice in a program once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.fx import GraphModule, Node

from neurokit.program.nodes import aten
from neurokit.program.ops import Kind, is_kind
from neurokit.program.passes.base import Pass

_FAR = float("inf")


def limits_of(node: Any) -> tuple[float, float] | None:
    """Returns what an operation limits its first argument to by numbers, from below and above, or None."""
    if not isinstance(node, Node) or node.op != "call_function" or node.kwargs:
        return None
    if node.target is aten.relu.default:
        return 0.0, _FAR
    if node.target is aten.relu6.default:
        return 0.0, 6.0
    given: list[Any]
    if node.target is aten.hardtanh.default:
        given = [*node.args[1:], *(-1.0, 1.0)[len(node.args) - 1 :]]
    elif node.target is aten.clamp.default:
        given = [*node.args[1:], None, None][:2]
    else:
        return None
    low, high = (far if one is None else one for one, far in zip(given, (-_FAR, _FAR), strict=True))
    return (float(low), float(high)) if all(isinstance(one, int | float) for one in (low, high)) else None


def _doubled(module: GraphModule) -> Iterator[tuple[Node, tuple[float, float]]]:
    """Yields the limits that are given what is limited, each with what both limit to; a walk may rewrite them."""
    for node in module.graph.nodes:
        outer = limits_of(node)
        inner = limits_of(node.args[0]) if outer is not None else None
        if outer is not None and inner is not None:
            low, high = (min(max(one, outer[0]), outer[1]) for one in inner)
            yield node, (low, high)


def _merge(module: GraphModule) -> None:
    for node, (low, high) in _doubled(module):
        node.target = aten.clamp.default
        source: Any = node.args[0].args[0]  # type: ignore[union-attr]
        node.args = (source, None if low == -_FAR else low, None if high == _FAR else high)
    module.graph.eliminate_dead_code()


def _left(module: GraphModule) -> list[str]:
    return [f"{node.name} limits what is limited" for node, _ in _doubled(module)]


ONE_LIMIT = Pass("write limits one behind the other as one", _merge, after=_left)

_PURE = (Kind.KEEP, Kind.CAST, Kind.MOVE, Kind.LIMIT, Kind.ROUND, Kind.MULTIPLY, Kind.ADD)


def _repeats(module: GraphModule) -> Iterator[tuple[Node, Node]]:
    """Yields the operations that compute what one before them does, each with that one; a walk may erase them."""
    seen: dict[tuple[Any, ...], Node] = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not is_kind(node, *_PURE):
            continue
        key = (node.target, str(node.args), str(node.kwargs))
        if key in seen:
            yield node, seen[key]
        seen.setdefault(key, node)


def _once(module: GraphModule) -> None:
    for node, first in _repeats(module):
        node.replace_all_uses_with(first)
        module.graph.erase_node(node)


def _twice(module: GraphModule) -> list[str]:
    return [f"{node.name} computes what {first.name} does" for node, first in _repeats(module)]


SAME_ONCE = Pass("compute once what stands twice", _once, after=_twice)
