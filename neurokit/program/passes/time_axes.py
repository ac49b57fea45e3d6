"""Removes time axes that are unfolded only to be folded again, and nodes that nothing reads."""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from neurokit.program.ops import is_named
from neurokit.program.passes.base import Pass

_UNFOLDS = ("unflatten", "view", "reshape")
_FOLDS = ("flatten", "view", "reshape")


def _rewrite(module: GraphModule) -> None:
    for node in list(module.graph.nodes):
        source = _folded_back(node)
        if source is not None:
            node.replace_all_uses_with(source)
    module.graph.eliminate_dead_code()


def _left(module: GraphModule) -> list[str]:
    return [f"{node.name} folds what was unfolded" for node in module.graph.nodes if _folded_back(node) is not None]


def _folded_back(node: Node) -> Node | None:
    """Returns y where `node` reshapes y to another shape and straight back, else None."""
    if not is_named(node, _FOLDS) or not is_named(node.args[0], _UNFOLDS):
        return None
    source = node.args[0].args[0]  # type: ignore[union-attr]
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


TIME_AXES = Pass("fold time axes that were unfolded", _rewrite, after=_left)
