"""Finds, in an unrolled graph, the copies of a loop's body whose steps read what the step before them made.

Every node is put into the step whose values it needs: that of the latest time step that is picked out of a sequence
above it. The nodes of one step are then matched with those of the next, argument by argument. A first step that starts
from a plain number, and so is another computation, stays outside; of the last two steps those nodes may be missing
whose values nobody reads: what a step makes for the next one, such as a count of refractory steps that is one less.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.utils._pytree import tree_leaves, tree_map

from neurokit.capture.rolling.own_steps import STEP

aten = torch.ops.aten


@dataclass(frozen=True)
class Lane:
    """One time step of a sequence: `source` at place `step` of its first axis, which stays with `keep`."""

    source: Node
    step: int
    keep: bool = False


@dataclass(frozen=True)
class Bodies:
    """The steps of one loop.

    Attributes:
        steps: Number of steps T.
        first: The first step that is a copy of the others: 0 or 1.
        nodes: Of every copy the node of each class, None where one of the last two steps has none; `nodes[0]` is step
            `first`.
        lanes: Every node that picks one time step of a sequence.
    """

    steps: int
    first: int
    nodes: tuple[tuple[Node | None, ...], ...]
    lanes: Mapping[Node, Lane]

    @property
    def template(self) -> tuple[Node, ...]:
        """The copy after the first, whose arguments show what is carried over."""
        return tuple(node for node in self.nodes[1] if node is not None)

    def place(self, node: Node) -> tuple[int, int] | None:
        """Returns copy and class of a node of the loop, or None for one outside."""
        for copy, nodes in enumerate(self.nodes):
            if node in nodes:
                return copy, nodes.index(node)
        return None


def find_bodies(
    graph: Graph, shapes: Mapping[Node, tuple[int, ...]], steps: int, own_steps: bool = False
) -> Bodies | None:
    """Returns the first loop of a graph that reads its own values of the step before, or None if there is none.

    Args:
        graph: An unrolled graph.
        shapes: Shape of every tensor in it.
        steps: Number of steps T.
        own_steps: Whether nodes are of the step that their line tells (`own_steps`), and no earlier one.
    """
    lanes = _lanes(graph, shapes, steps)
    stages = _stages(graph, lanes, own_steps)
    for stage in sorted({stage for stage, _ in stages.values() if stage}):
        groups = [[node for node in stages if stages[node] == (stage, t) and node not in lanes] for t in range(steps)]
        for first in (0, 1):
            found = _matched(groups, lanes, steps, first)
            if found is not None:
                return found
    return None


def _lanes(graph: Graph, shapes: Mapping[Node, tuple[int, ...]], steps: int) -> dict[Node, Lane]:
    found = {}
    for node in graph.nodes:
        lane = _lane(node, shapes, steps)
        if lane is not None:
            found[node] = lane
    return found


def _lane(node: Node, shapes: Mapping[Node, tuple[int, ...]], steps: int) -> Lane | None:
    source: Any = node.args[0] if node.args else None
    keep = bool(node.target == aten.slice.Tensor and len(node.args) == 4 and node.args[1] == 0)
    if keep:
        at: Any = node.args[2]
        ends = (at + 1, steps, sys.maxsize) if at in (-1, steps - 1) else (at + 1,)
        at = at if node.args[3] in ends else None
    elif node.target == aten.select.int and node.args[1] == 0:
        at = node.args[2]
    elif node.target is operator.getitem and isinstance(source, Node) and source.target == aten.unbind.int:
        at, axis = node.args[1], source.args[1] if len(source.args) > 1 else 0
        source = source.args[0] if axis == 0 else None
    else:
        return None
    whole = isinstance(source, Node) and shapes.get(source, ())[:1] == (steps,)
    return Lane(source, at % steps, keep) if whole and isinstance(at, int) else None


def _stages(graph: Graph, lanes: Mapping[Node, Lane], own_steps: bool) -> dict[Node, tuple[int, int]]:
    """Returns stage and step of every call: a sequence that is made of all steps of a loop begins the next stage."""
    found: dict[Node, tuple[int, int]] = {}
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        if node in lanes:
            stage, _ = found.get(lanes[node].source, (0, -1))
            found[node] = (stage + 1, lanes[node].step)
        else:
            stage, step = max((found.get(source, (0, -1)) for source in node.all_input_nodes), default=(0, -1))
            own = _own_step(node) if own_steps else -1
            found[node] = (max(stage, 1), own) if own > step else (stage, step)
    return found


def _own_step(node: Node) -> int:
    """Returns the step that a node's line tells, or -1; what later steps but the next read as well is of none."""
    own: int = node.meta.get(STEP, -1)
    return own if all(user.meta.get(STEP, own) <= own + 1 for user in node.users) else -1


def _matched(groups: list[list[Node]], lanes: Mapping[Node, Lane], steps: int, first: int) -> Bodies | None:
    """Matches the nodes of every step from `first` on with those of the second of them."""
    template = groups[first + 1]
    base = _match(template, groups[first], {}, lanes, steps)
    if not template or len(base) != len(template):
        return None
    before = {made: node for node, made in base.items()}  # of the first copy -> of the template
    read = {source for node in template for source in node.all_input_nodes}
    if not read.isdisjoint(set(groups[first]) - set(before)):
        return None  # it reads of the step before what it has not itself: nobody reads that of the last steps
    known = [base, {node: node for node in template}]
    for t in range(first + 2, steps):
        made = _match(template, groups[t], {"earlier": known[-1], "class": before}, lanes, steps, t - first - 1)
        if not made or (len(made) != len(template) and t < steps - 2):
            return None
        known.append(made)
    if not any(source in before for node in template for source in node.all_input_nodes):
        return None  # nothing is carried over
    return Bodies(steps, first, tuple(tuple(each.get(node) for node in template) for each in known), lanes)


def _match(
    template: list[Node],
    group: list[Node],
    carried: Mapping[str, Mapping[Node, Node]],
    lanes: Mapping[Node, Lane],
    steps: int,
    later: int = -1,
) -> dict[Node, Node]:
    """Returns, for nodes of the template, those of another step that do the same.

    Args:
        template: The nodes of one step.
        group: Those of the other step.
        carried: "class" (node of the step before the template -> template) and "earlier" (template -> node of the step
            before the other); without them, the other is the step before, and what it reads there may be anything.
        lanes: Every node that picks one time step.
        steps: T.
        later: How many steps the other is later.
    """
    inside, made, free, own = set(template), dict[Node, Node](), list(group), set(group)

    def same(a: Any, b: Any) -> bool:
        if not isinstance(a, Node) or not isinstance(b, Node):
            return not isinstance(a, Node) and not isinstance(b, Node) and type(a) is type(b) and bool(a == b)
        if a in inside:
            return made.get(a) is b
        if a in lanes:
            return b in lanes and replace(lanes[a], step=lanes[a].step + later) == lanes[b]
        if not carried:
            return a is b or (a in own and b not in own)
        return carried["earlier"].get(carried["class"][a]) is b if a in carried["class"] else a is b

    for node in template:
        for other in free:
            leaves = [tree_leaves((each.args, each.kwargs)) for each in (node, other)]
            alike = node.target == other.target and _structure(node) == _structure(other)
            if alike and all(same(a, b) for a, b in zip(*leaves, strict=True)):
                made[node] = other
                free.remove(other)
                break
    return made


def _structure(node: Node) -> Any:
    return str(tree_map(lambda leaf: 0 if not isinstance(leaf, Node) else "node", (node.args, node.kwargs)))


def outside_users(bodies: Bodies) -> Iterator[tuple[Node, int, int]]:
    """Yields every node of a loop that something outside reads, with its copy and class."""
    own = {node for nodes in bodies.nodes for node in nodes if node is not None}
    for copy, nodes in enumerate(bodies.nodes):
        for at, node in enumerate(nodes):
            if node is not None and any(user not in own for user in node.users):
                yield node, copy, at
