"""Removes what tracing leaves behind: dead nodes, and time axes that are unfolded only to be folded again."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

_UNFOLDS = {torch.ops.aten.unflatten.int, torch.ops.aten.view.default, torch.ops.aten.reshape.default}
_FOLDS = {torch.ops.aten.flatten.using_ints, torch.ops.aten.view.default, torch.ops.aten.reshape.default}


def tidy(program: ExportedProgram) -> None:
    """Cleans the program's graph in place; what it computes stays the same, bit for bit."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        source = _folded_back(node)
        if source is not None:
            node.replace_all_uses_with(source)
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _folded_back(node: Node) -> Node | None:
    """Returns y where `node` reshapes y to another shape and straight back, else None."""
    if node.op != "call_function" or node.target not in _FOLDS:
        return None
    middle = node.args[0]
    if not isinstance(middle, Node) or middle.op != "call_function" or middle.target not in _UNFOLDS:
        return None
    source = middle.args[0]
    if isinstance(source, Node) and _same_shape(source, node):
        return source
    return None


def _same_shape(a: Node, b: Node) -> bool:
    left, right = a.meta["val"].shape, b.meta["val"].shape
    return len(left) == len(right) and all(_equal(x, y) for x, y in zip(left, right, strict=True))


def _equal(x: Any, y: Any) -> bool:
    """Compares two sizes without adding a guard to the program."""
    if isinstance(x, int) and isinstance(y, int):
        return x == y
    return str(x) == str(y)
