"""What folding asks of single operations."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from neurokit.program import nodes
from neurokit.program.ops import Kind, is_kind, is_named, operation
from neurokit.program.walk import fetch

#: Operations that make a tensor of one number.
FILLED = frozenset({"full", "full_like", "new_full", "scalar_tensor"})
_WITH_PLACES = frozenset({"max.dim", "min.dim"})  # the largest or smallest, and where it is


def as_node(value: Any) -> Any:
    """Returns an argument that is a node, or None: torch.fx types it as anything that an argument may be."""
    return value


def takes_constant(node: Node) -> bool:
    """Returns whether a tensor of parameters may be an operand of a node."""
    return is_named(node, {"add", "sub"}) or is_kind(node, Kind.MULTIPLY, Kind.DIVIDE)


def is_place(node: Node) -> bool:
    """Returns whether a node is the place of the largest or smallest of several elements."""
    of_two = node.target is operator.getitem and node.args[1] == 1 and is_named(node.args[0], _WITH_PLACES)
    return of_two or is_named(node, {"argmax", "argmin"})


def has_number(node: Node) -> bool:
    """Returns whether a node adds a number to a tensor or compares one with it."""
    known = is_kind(node, Kind.ADD) or is_named(node, {"gt", "ge", "lt", "le", "eq", "ne"})
    operands = node.args[:2]
    numbers = [isinstance(part, int | float) and not isinstance(part, bool) for part in operands]
    return known and sum(numbers) == 1 and sum(isinstance(part, Node) for part in operands) == 1


def is_scale(node: Node) -> bool:
    """Returns whether a node multiplies or divides by a number."""
    return is_kind(node, Kind.MULTIPLY, Kind.DIVIDE) and isinstance(node.args[1], int | float) and not node.kwargs


def passes_factor(node: Node) -> bool:
    """Returns whether a factor of a node's one input is a factor of its result (a positive one, for limits)."""
    if is_kind(node, Kind.CAST):
        return isinstance(node.meta.get("val"), Tensor) and node.meta["val"].is_floating_point()
    named = is_named(node, {"relu", "sum", "im2col", *_WITH_PLACES}) or nodes.is_max_pool(node)
    return named or is_kind(node, Kind.MOVE, Kind.KEEP)


def joins(node: Node) -> bool:
    """Returns whether a factor that all inputs of a node share is a factor of its result."""
    plain = is_named(node, {"add", "sub"}) and all(isinstance(arg, Node) for arg in node.args[:2])
    return plain or is_named(node, {"cat", "stack"})


def only_adds(node: Node) -> bool:
    """Returns whether all that becomes of a node, up to the outputs, is moved, summed and scaled by numbers."""
    return all(
        user.op == "output"
        or (
            (is_kind(user, Kind.MOVE, Kind.KEEP) or is_named(user, {"mean", "sum"}) or is_scale(user))
            and only_adds(user)
        )
        for user in node.users
    )


def keeps_every_element(node: Node) -> bool:
    """Returns whether a move can be followed by numbers of elements in the place of elements."""
    known = operation(node.target)
    return known is not None and not known.floats and isinstance(node.meta.get("val"), Tensor)


def number(value: Any) -> Any:
    """Returns an argument with symbolic sizes as numbers."""
    if isinstance(value, list | tuple):
        return [number(part) for part in value]
    if isinstance(value, Node):
        return nodes.hint(value.meta["val"])
    return value


def evaluate(module: nn.Module, node: Any) -> float:
    """Returns the value of a scalar that the graph computes from parameters alone (a learnt decay)."""
    if node.op == "get_attr":
        return float(fetch(module, str(node.target)).detach())
    arguments = [
        torch.tensor(evaluate(module, a), dtype=torch.float64) if isinstance(a, Node) else a for a in node.args
    ]
    return float(node.target(*arguments))
