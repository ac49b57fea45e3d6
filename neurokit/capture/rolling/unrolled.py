"""Puts an unrolled graph in order, before its loops are looked for and after one is written."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

aten = torch.ops.aten
_PICKS = (aten.select.int, aten.unbind.int)


def steps_first(graph: Graph, values: dict[Node, Any], steps: int) -> None:
    """Lets what picks every step along another axis, `x[:, t]`, pick it along the first.

    Args:
        graph: The graph.
        values: What every node gave; what is added is noted.
        steps: Number of steps T.
    """
    picked: dict[tuple[Node, int], list[Node]] = {}
    for node in graph.nodes:
        source: Any = node.args[0] if node.op == "call_function" and node.args else None
        axis: Any = node.args[1] if len(node.args) > 1 else 0
        value = values.get(source) if isinstance(source, Node) else None
        if node.target not in _PICKS or not isinstance(value, Tensor) or value.shape[axis] != steps:
            continue
        if axis % value.dim():
            picked.setdefault((source, axis % value.dim()), []).append(node)
    for (source, axis), nodes in picked.items():
        places = {node.args[2] % steps for node in nodes if node.target == aten.select.int}  # type: ignore[operator]
        if len(places) < steps and all(node.target == aten.select.int for node in nodes):
            continue  # some other axis that is as long
        with graph.inserting_after(source):
            first = graph.call_function(aten.movedim.int, (source, axis, 0))
        values[first] = values[source].movedim(axis, 0)
        for node in nodes:
            node.args = (first, 0, *node.args[2:])


def computed_once(graph: Graph) -> None:
    """Merges operations that compute the same, as every step does with the weights."""
    known: dict[Any, Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            continue
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False):
            continue
        key = (node.target, str(node.args), str(node.kwargs))
        first = known.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
    graph.eliminate_dead_code()


def every_result(graph: Graph, values: dict[Node, Any]) -> None:
    """Takes every result of an operation at all steps that is read at one: a spike that the last step alone hands out.

    Args:
        graph: The graph.
        values: What every node gave; what is added is noted.
    """
    read: dict[Any, set[int]] = {}
    several = [n for n in graph.nodes if n.op == "call_function" and isinstance(values.get(n), tuple | list)]
    for node in several:
        read.setdefault(node.target, set()).update(u.args[1] for u in node.users if u.target is operator.getitem)
    for node in several:
        here = {user.args[1] for user in node.users if user.target is operator.getitem}
        for place in sorted(read[node.target] - here):
            if isinstance(place, int) and place < len(values[node]):
                with graph.inserting_after(node):
                    made = graph.call_function(operator.getitem, (node, place))
                values[made] = values[node][place]


def written_at_once(graph: Graph, steps: int) -> dict[Node, Node]:
    """Writes a tensor whose T places were written one after the other as a stack of what was written.

    Returns:
        What was replaced, and by what.
    """
    replaced: dict[Node, Node] = {}
    for node in list(graph.nodes):
        values: dict[int, Any] = {}
        rest: Any = node
        while isinstance(rest, Node) and rest.target == aten.select_scatter.default and rest.args[2] == 0:
            place: Any = rest.args[3]
            values.setdefault(place % steps, rest.args[1])
            rest = rest.args[0]
        if sorted(values) == list(range(steps)):
            with graph.inserting_after(node):
                made = graph.call_function(aten.stack.default, ([values[t] for t in range(steps)],))
            node.replace_all_uses_with(made)
            replaced[node] = made
    graph.eliminate_dead_code()
    return replaced


def ordered(graph: Graph, values: dict[Node, Any]) -> Graph:
    """Returns a copy of a graph, without what nobody reads, in which every node comes after what it needs."""
    new, done = Graph(), dict[Node, Node]()
    nodes = list(graph.nodes)
    for node in nodes:
        if node.op == "placeholder":
            done[node] = new.node_copy(node)
    pending = [node for node in reversed(nodes) if node.op == "output"]
    while pending:
        node = pending[-1]
        missing = [source for source in node.all_input_nodes if source not in done]
        if missing:
            pending.extend(reversed(missing))
            continue
        pending.pop()
        if node not in done:
            done[node] = new.node_copy(node, lambda old: done[old])
    for old, made in done.items():
        if old in values:
            values[made] = values[old]
    return new
