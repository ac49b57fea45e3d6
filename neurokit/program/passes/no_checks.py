"""Drops what a trace leaves of element types: checks of them, and casts of what is given to the type that it has."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from neurokit.program.nodes import is_op
from neurokit.program.ops import is_named
from neurokit.program.passes.base import Pass

aten = torch.ops.aten
# Bounds and ranges run a program on values of another kind, which such a check would refuse.
_CHECKS = ("_assert_tensor_metadata",)


def _checks(module: GraphModule) -> list[Node]:
    return [node for node in module.graph.nodes if is_named(node, _CHECKS)]


def _idle_casts(module: GraphModule) -> list[tuple[Node, Node]]:
    """Returns casts that are their operand, with it.

    torch's ONNX exporter takes a weight under the name of such a cast, and then does not find it.
    """
    casts = [(node, node.args[0]) for node in module.graph.nodes if is_op(node, {aten.to.dtype})]
    return [
        (node, given)
        for node, given in casts
        if isinstance(given, Node) and given.op == "placeholder" and given.meta["val"].dtype == node.args[1]
    ]


def _rewrite(module: GraphModule) -> None:
    for node in _checks(module):
        module.graph.erase_node(node)
    for node, given in _idle_casts(module):
        node.replace_all_uses_with(given)
        module.graph.erase_node(node)


NO_CHECKS = Pass("no checks", _rewrite, after=lambda module: [node.name for node in _checks(module)])
