"""Writes in-place operations of a graph out of place, so that every value has one name."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten
_VIEWS = {aten.select.int, aten.slice.Tensor}
_SCATTERS = {aten.select.int: aten.select_scatter.default, aten.slice.Tensor: aten.slice_scatter.default}


def out_of_place(graph: Graph) -> Graph:
    """Returns a copy of a graph without in-place operations; views of a value are written back into it."""
    new = Graph()
    held: dict[Node, Node] = {}
    new.output(new.graph_copy(graph, held))
    for old, made in held.items():
        made.meta = copy.copy(old.meta)
    for node in list(new.nodes):
        if node.op != "call_function" or not _mutates(node.target):
            continue
        _replace(new, node)
    new.eliminate_dead_code()
    return new


def _mutates(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return schema is not None and schema.is_mutable and str(target).partition(".")[2].partition(".")[0].endswith("_")


def _replace(graph: Graph, node: Node) -> None:
    """Puts `y = op(x)` in the place of `op_(x)`, and y in the place of x for all that follows."""
    space, name, overload = str(node.target).split(".")
    changed: Any = node.args[0]
    with graph.inserting_before(node):
        if name == "copy_":
            value: Any = node.args[1]
            made = graph.call_function(aten.expand_as.default, (value, changed))
            if _same_shape(value, changed):
                made = value
        else:
            packet = getattr(getattr(torch.ops, space), name[:-1])
            target = getattr(packet, overload)
            made = graph.call_function(target, node.args, dict(node.kwargs))
            made.meta = copy.copy(node.meta)
    node.replace_all_uses_with(made)
    _instead(graph, node, changed, made)
    graph.erase_node(node)


def _instead(graph: Graph, after: Node, old: Node, new: Node) -> None:
    """Uses `new` for `old` in what follows `after`; where `old` is a view, its base is written to."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    for user in list(old.users):
        if order[user] > order[after]:
            user.replace_input_with(old, new)
    base = old.args[0] if old.target in _VIEWS else None
    if isinstance(base, Node):
        with graph.inserting_before(after):
            written = graph.call_function(_SCATTERS[old.target], (base, new, *old.args[1:]))
            written.meta = copy.copy(base.meta)
        _instead(graph, after, base, written)


def _same_shape(a: Any, b: Any) -> bool:
    if not isinstance(a, Node):
        return False
    left, right = a.meta["val"].shape, b.meta["val"].shape
    return [str(size) for size in left] == [str(size) for size in right] and a.meta["val"].dtype == b.meta["val"].dtype
