"""Writes in-place operations of a graph out of place, so that every value has one name."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.passes.base import Pass

aten = torch.ops.aten
_VIEWS = {aten.select.int, aten.slice.Tensor}
_SCATTERS: dict[Any, Any] = {
    aten.select.int: aten.select_scatter.default,
    aten.slice.Tensor: aten.slice_scatter.default,
}
# What Python's operators in place are called; those of arithmetic are called as their methods.
_OPERATORS = {"__iand__": "bitwise_and", "__ior__": "bitwise_or", "__ixor__": "bitwise_xor"}


def out_of_place(graph: Graph) -> Graph:
    """Returns a copy of a graph without in-place operations; views of a value are written back into it."""
    new = Graph()
    held: dict[Node, Node] = {}
    new.output(new.graph_copy(graph, held))
    for old, made in held.items():
        made.meta = copy.copy(old.meta)
    for node in list(new.nodes):
        if node.op == "call_function" and _mutates(node.target):
            _replace(new, node)
    new.eliminate_dead_code()
    return new


def _write(module: GraphModule) -> None:
    changed = True
    while changed:  # from the last on: of several places of one tensor, an earlier write is separable after a later one
        changed = False
        for node in reversed(list(module.graph.nodes)):
            if _separable(node):
                _replace(module.graph, node)
                changed = True
        changed = module.graph.eliminate_dead_code() or changed  # a view that nobody reads held another one up


def _separable(node: Node) -> bool:
    """Returns whether a node changes a tensor in place that nothing else reads later by another name.

    Where a reshaped view of it is read later, the change must reach that too: such a node stays as it is.
    """
    if node.op != "call_function" or not _mutates(node.target):
        return False
    changed: Any = node.args[0]
    written = {changed}
    while changed.target in _VIEWS and isinstance(changed.args[0], Node):  # these are written back
        changed = changed.args[0]
        written.add(changed)
    while _shares(changed):
        changed = changed.args[0]
    names, pending = {changed}, [changed]
    while pending:
        more = [user for user in pending.pop().users if _shares(user) and user not in names]
        names.update(more)
        pending += more
    order = {each: index for index, each in enumerate(node.graph.nodes)}
    before = [name for name in names - written if order[name] < order[node]]  # a view made later is one of what is new
    return not any(order[user] > order[node] for name in before for user in name.users)


def _shares(node: Node) -> bool:
    """Returns whether a node may be a view of its first argument."""
    moves = is_kind(node, Kind.MOVE, Kind.KEEP, Kind.CAST) and not is_named(node, {"clone"})
    return moves and bool(node.args) and isinstance(node.args[0], Node)


def _mutates(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return False
    space, _, name = schema.name.partition("::")
    plain = getattr(getattr(torch.ops, space), _plain(name), None) if name.endswith("_") else None
    return name == "copy_" or (plain is not None and (schema.overload_name or "default") in plain.overloads())


def _plain(name: str) -> str:
    """Returns the name of an in-place operation's form out of place."""
    return _OPERATORS.get(name, name[:-1])


def _replace(graph: Graph, node: Node) -> None:
    """Puts `y = op(x)` in the place of `op_(x)`, and y in the place of x for all that follows."""
    space, name, overload = str(node.target).split(".")
    changed: Any = node.args[0]
    with graph.inserting_before(node):
        if name == "copy_":
            value: Any = node.args[1]
            made = graph.call_function(aten.expand_as.default, (value, changed))
            made.meta = copy.copy(changed.meta)
            if _same_shape(value, changed):
                made = value
        else:
            packet = getattr(getattr(torch.ops, space), _plain(name))
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


OUT_OF_PLACE = Pass(
    "write in-place operations out of place",
    _write,
    after=lambda module: [f"{node.name} changes what it is given" for node in module.graph.nodes if _separable(node)],
)
