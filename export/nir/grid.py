"""Finds the rounding of its input that an exact network begins with; NIR states it in the metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from neurokit.interchange.input_grid import InputGrid

if TYPE_CHECKING:
    from torch.fx import Node

aten = torch.ops.aten


def input_grid(x: Node) -> tuple[InputGrid, list[Node]] | None:
    """Returns the grid that a program rounds its input to, and the operations that do so, the result last.

    The exact form limits, scales by a power of two, rounds and scales back; limits and scales may be absent.

    Args:
        x: The program's input.
    """
    chain: list[Node] = []
    low = high = None
    node = _next(x)
    if node is not None and node.target == aten.clamp.default:
        low, high = (*node.args[1:], None, None)[:2]
        chain.append(node)
        node = _next(node)
    scale = _factor(node)
    if scale is not None:
        chain.append(node)  # type: ignore[arg-type]
        node = _next(node)
    if node is None or node.target != aten.round.default:
        return None
    chain.append(node)
    exponent = 0 if scale is None else round(-math.log2(scale))
    if exponent != 0:
        node = _next(node)
        if _factor(node) != 2.0**exponent:
            return None
        chain.append(node)  # type: ignore[arg-type]
    return InputGrid(exponent, _number(low), _number(high)), chain


def _next(node: Node | None) -> Node | None:
    """Returns the one operation that reads a tensor's numbers, or None if there are several."""
    users = [user for user in (node.users if node is not None else ()) if "sym_size" not in str(user.target)]
    return users[0] if len(users) == 1 else None


def _factor(node: Node | None) -> float | None:
    """Returns the power of two that an operation multiplies by."""
    if node is None or node.target != aten.mul.Tensor or not isinstance(node.args[1], int | float):
        return None
    factor = float(node.args[1])
    return factor if factor > 0 and math.frexp(factor)[0] == 0.5 else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
