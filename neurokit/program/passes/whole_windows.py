"""Writes an adaptive maximum over equal windows as the pooling that it is, which every form knows."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from neurokit.program.passes.base import Pass

aten = torch.ops.aten
_POOLS: dict[Any, tuple[Any, int]] = {
    aten.adaptive_max_pool1d.default: (aten.max_pool1d.default, 1),
    aten.adaptive_max_pool2d.default: (aten.max_pool2d.default, 2),
    aten.adaptive_max_pool3d.default: (aten.max_pool3d.default, 3),
}


def _window(node: Node) -> list[int] | None:
    """Returns the window, where all are of one size and only the maxima are read."""
    if node.op != "call_function" or node.target not in _POOLS:
        return None
    if any(user.target is not operator.getitem or user.args[1] != 0 for user in node.users):
        return None  # places of maxima are read
    axes = _POOLS[node.target][1]
    sizes = list(node.args[0].meta["val"].shape[-axes:])  # type: ignore[union-attr]
    wanted: Any = node.args[1]
    wanted = list(wanted) if isinstance(wanted, list | tuple) else [wanted] * axes
    wanted = wanted if len(wanted) == axes else wanted * axes
    if not all(isinstance(size, int) and size % out == 0 for size, out in zip(sizes, wanted, strict=True)):
        return None
    return [size // out for size, out in zip(sizes, wanted, strict=True)]


def _rewrite(module: GraphModule) -> None:
    for node in list(module.graph.nodes):
        window = _window(node)
        if window is None:
            continue
        with module.graph.inserting_before(node):
            made = module.graph.call_function(_POOLS[node.target][0], (node.args[0], window, window))
        made.meta = copy.copy(node.meta)
        made.meta["val"] = node.meta["val"][0]
        for user in list(node.users):
            user.replace_all_uses_with(made)
            module.graph.erase_node(user)
        module.graph.erase_node(node)


WHOLE_WINDOWS = Pass(
    "adaptive maxima over equal windows",
    _rewrite,
    after=lambda module: [node.name for node in module.graph.nodes if _window(node) is not None],
)
