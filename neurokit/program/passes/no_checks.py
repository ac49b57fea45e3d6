"""Drops the checks of element type and device that a trace leaves in a program: its types do not change."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from neurokit.program.ops import is_named
from neurokit.program.passes.base import Pass

# Bounds and ranges run a program on values of another kind, which such a check would refuse.
_CHECKS = ("_assert_tensor_metadata",)


def _checks(module: GraphModule) -> list[Node]:
    return [node for node in module.graph.nodes if is_named(node, _CHECKS)]


def _rewrite(module: GraphModule) -> None:
    for node in _checks(module):
        module.graph.erase_node(node)


NO_CHECKS = Pass("no checks", _rewrite, after=lambda module: [node.name for node in _checks(module)])
