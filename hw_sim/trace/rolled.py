"""Loops over time that a model writes in Python, rolled up again: T calls of one operation become one over T steps.

Such a program holds every operation of the loop T times. The members of a group are the same operation in each step;
its tensors, joined along the first axis, are what the multi-step form of the same network computes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

Where = Literal["same", "step", "late", "varies"]


@dataclass(eq=False)
class Group:
    """One operation of a loop in all T steps.

    Attributes:
        members: Its node in each step; None where the first step has none.
        columns: For each place of the arguments (flat): where it comes from, and the group if it is one's. "same" is
            the same in all steps, "step" a group's result in the same step, "late" that of the step before, "varies" a
            constant that each step has of its own.
    """

    members: list[Node | None]
    columns: list[tuple[Where, Group | None]] = field(default_factory=list)

    @property
    def node(self) -> Node:
        """The node of the last step, which stands for all."""
        last = self.members[-1]
        assert last is not None
        return last

    @property
    def first(self) -> Node:
        """The node of the first step that has one."""
        return next(node for node in self.members if node is not None)

    @property
    def is_sum(self) -> bool:
        """Whether it adds up its other operand over the steps (a count of spikes, read after the loop)."""
        return str(self.node.target).startswith("aten.add") and any(group is self for _, group in self.columns)


def groups_of(module: GraphModule, steps: int) -> dict[Node, tuple[Group, int]]:
    """Returns the group and the step of every node that is part of a loop over T steps.

    Args:
        module: The program.
        steps: T, at least 2.
    """
    alike: dict[Any, list[Node]] = {}
    for node in module.graph.nodes:
        if node.op == "call_function" and not str(node.target).startswith("aten._assert"):
            alike.setdefault(_key(node), []).append(node)
    groups: list[Group] = []
    for nodes in alike.values():
        groups += _grouped(nodes, steps)
    fixed = _fixed(module)
    while True:
        places = {node: (group, k) for group in groups for k, node in enumerate(group.members) if node is not None}
        kept = [group for group in groups if _consistent(group, places, fixed)]
        if len(kept) == len(groups):
            return places
        groups = kept


def _grouped(nodes: list[Node], steps: int) -> list[Group]:
    """Returns the groups of nodes that are alike: as many in each step, or none in the first."""
    count, rest = divmod(len(nodes), steps)
    if not rest:
        return [Group(list(nodes[first::count])) for first in range(count)]
    count, rest = divmod(len(nodes), steps - 1)
    if steps > 2 and not rest:
        return [Group([None, *nodes[first::count]]) for first in range(count)]
    return []


def _key(node: Node) -> Any:
    """Returns what the same operation has in common in all steps of a loop."""
    value = node.meta.get("val")
    shape = tuple(map(str, value.shape)) if isinstance(value, Tensor) else str(type(value))
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    picks = "getitem" in str(node.target) or str(node.target).startswith("aten.select")
    plain = tuple(None if isinstance(leaf, Node) else repr(leaf) for leaf in leaves(node) if not picks)
    if "getitem" in str(node.target) and isinstance(node.args[0], Node):
        held = node.args[0]  # results of an operation in each step, or the steps of one tensor
        plain = ("steps",) if "unbind" in str(held.target) else (str(held.target), repr(node.args[1]))
    return str(node.target), shape, stack[-1] if stack else "", plain


def leaves(node: Node) -> list[Any]:
    """Returns every argument of a node, flat."""
    return [*flat(node.args), *flat(tuple(node.kwargs.values()))]


def flat(value: Any) -> list[Any]:
    """Returns what is in a list of lists, or a value that is none as the only one."""
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, list | tuple) else [value]


def _fixed(module: GraphModule) -> set[Node]:
    """Returns the nodes that depend on no input: weights, and what is computed from them."""
    fixed: set[Node] = set()
    for node in module.graph.nodes:
        if node.op == "get_attr" or (node.op == "call_function" and all(n in fixed for n in node.all_input_nodes)):
            fixed.add(node)
    return fixed


def _consistent(group: Group, places: dict[Node, tuple[Group, int]], fixed: set[Node]) -> bool:
    """Finds where each argument comes from; returns whether that is the same in all steps."""
    members = [(k, leaves(node)) for k, node in enumerate(group.members) if node is not None]
    if len({len(row) for _, row in members}) != 1:
        return False
    group.columns = []
    for column in range(len(members[0][1])):
        found = _origin([(k, row[column]) for k, row in members], places, fixed)
        if found is None:
            return False
        group.columns.append(found)
    return any(isinstance(leaf, Node) for leaf in members[-1][1])


def _origin(
    column: list[tuple[int, Any]], places: dict[Node, tuple[Group, int]], fixed: set[Node]
) -> tuple[Where, Group | None] | None:
    values = [value for _, value in column]
    if not any(isinstance(value, Node) for value in values):
        return ("same" if all(value == values[0] for value in values) else "varies"), None
    if all(value is values[0] for value in values):
        return "same", None
    if all(not isinstance(value, Node) or value in fixed for value in values):
        return "varies", None  # one constant a step, as tracing lifts them
    last = values[-1]
    place = places.get(last) if isinstance(last, Node) else None
    if place is None:
        return None
    group, late = place[0], len(place[0].members) - 1 - place[1]
    if late not in (0, 1):
        return None
    wanted = [(value, k - late) for k, value in column if k - late >= 0]
    if any(not isinstance(value, Node) or places.get(value) != (group, k) for value, k in wanted):
        return None
    return ("late" if late else "step"), group


def joined(parts: list[Any]) -> Any:
    """Returns the results of all steps joined along their first axis, of several results each by itself."""
    if isinstance(parts[-1], tuple | list):
        return [joined([part[i] for part in parts]) for i in range(len(parts[-1]))]
    if not isinstance(parts[-1], Tensor):
        return parts[-1]
    like = parts[-1]
    whole = [part if isinstance(part, Tensor) and part.shape == like.shape else _spread(part, like) for part in parts]
    return torch.cat(whole) if like.dim() else torch.stack(whole)


def _spread(part: Any, like: Tensor) -> Tensor:
    """Returns what stands for a result in the first step (nothing, a number, a smaller tensor) in its shape."""
    value = torch.as_tensor(0 if part is None else part)
    return value.to(like.dtype).expand(like.shape)
