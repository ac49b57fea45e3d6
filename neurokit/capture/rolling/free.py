"""A rolled graph that holds for any number of steps: the same network, unrolled at two lengths, compared."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.utils._pytree import tree_flatten, tree_unflatten

# Five steps show a first, two of the same, and two last ones, of which what only later steps would read is missing.
# Unequal, and not one more or twice the other.
LENGTHS = (5, 7)


def over_free_steps(first: Graph, second: Graph, given: str) -> Graph | None:
    """Returns the first graph with T read from its input, or None if the two differ in more than T.

    Args:
        first: A rolled graph made from `LENGTHS[0]` steps.
        second: The same of `LENGTHS[1]` steps.
        given: Name of the placeholder `[T, ...]`.
    """
    nodes, others = list(first.nodes), list(second.nodes)
    if len(nodes) != len(others):
        return None
    pairs = dict(zip(nodes, others, strict=True))
    source = next(node for node in nodes if node.op == "placeholder" and node.name == given)
    last = [node for node in nodes if node.op == "placeholder"][-1]
    with first.inserting_after(last):
        steps = first.call_function(torch.ops.aten.sym_size.int, (source, 0))
    for node, other in pairs.items():
        if node.op != other.op or node.target != other.target:
            return None
        flat, spec = tree_flatten((node.args, node.kwargs))
        more, other_spec = tree_flatten((other.args, other.kwargs))
        if spec != other_spec:
            return None
        joined = [_joined(a, b, pairs, steps) for a, b in zip(flat, more, strict=True)]
        joined = [_written(value, node, at) if isinstance(value, _Steps) else value for at, value in enumerate(joined)]
        if any(value is _DIFFERS for value in joined):
            return None
        args, kwargs = tree_unflatten(joined, spec)
        node.args, node.kwargs = args, kwargs
    if not steps.users:
        first.erase_node(steps)
    return first


_DIFFERS = object()


@dataclass(frozen=True)
class _Steps:
    """A number that is T and a difference.

    Attributes:
        node: T.
        more: The difference.
        kind: Its type, int or float.
    """

    node: Node
    more: int
    kind: type


def _written(value: _Steps, user: Node, at: int) -> Any:
    """Returns T and a difference as a value of the graph; a place from the end as a negative number."""
    if user.target == torch.ops.aten.select.int and at == 2 and value.more < 0:
        return value.more
    with user.graph.inserting_before(user):
        made = value.node
        if value.more:
            made = user.graph.call_function(operator.add, (made, value.more))
        return made if value.kind is int else user.graph.call_function(torch.sym_float, (made,))


def _joined(a: Any, b: Any, pairs: dict[Node, Node], steps: Node) -> Any:
    if isinstance(a, Node):
        return a if pairs.get(a) is b else _DIFFERS
    if type(a) is type(b) and a == b:
        return a
    if type(a) is type(b) and type(a) in (int, float) and b - a == LENGTHS[1] - LENGTHS[0]:
        more = a - LENGTHS[0]
        return _Steps(steps, int(more), type(a)) if more == int(more) else _DIFFERS
    return _DIFFERS
