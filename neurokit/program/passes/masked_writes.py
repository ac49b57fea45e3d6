"""Writes `x[mask] = number` as the choice that it is, which every form knows."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.fx import GraphModule, Node

from neurokit.program.ops import is_named
from neurokit.program.passes.base import Pass

aten = torch.ops.aten


def _mask(node: Node) -> Node | None:
    """Returns the condition of a write of one number to wherever it holds, or None."""
    if not is_named(node, {"index_put"}) or (len(node.args) > 3 and node.args[3]):
        return None
    base, places, value = node.args[:3]
    if not isinstance(places, list | tuple) or len(places) != 1 or not isinstance(places[0], Node):
        return None
    mask: Any = places[0]
    if mask.meta["val"].dtype is not torch.bool or value.meta["val"].numel() != 1:  # type: ignore[union-attr]
        return None
    same = value.meta["val"].dtype is base.meta["val"].dtype  # type: ignore[union-attr]
    return mask if same else None


def _rewrite(module: GraphModule) -> None:
    graph = module.graph
    for node in list(graph.nodes):
        mask = _mask(node)
        if mask is None:
            continue
        base, value = (part for part in node.args[::2] if isinstance(part, Node))
        with graph.inserting_before(node):
            condition, number = mask, value
            for _ in range(base.meta["val"].dim() - mask.meta["val"].dim()):
                condition = _made(graph, aten.unsqueeze.default, condition, -1)
            if value.meta["val"].dim():
                number = _made(graph, aten.reshape.default, value, [])
            made = graph.call_function(aten.where.self, (condition, number, base))
        made.meta = copy.copy(node.meta)
        node.replace_all_uses_with(made)
        graph.erase_node(node)


def _made(graph: Any, target: Any, source: Node, setting: Any) -> Node:
    made: Node = graph.call_function(target, (source, setting))
    made.meta = copy.copy(source.meta)
    made.meta["val"] = target(source.meta["val"], setting)
    return made


MASKED_WRITES = Pass(
    "numbers written where a mask holds",
    _rewrite,
    after=lambda module: [node.name for node in module.graph.nodes if _mask(node) is not None],
)
