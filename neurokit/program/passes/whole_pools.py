"""Takes an average over windows of one element for what it is, the tensor itself."""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from neurokit.program.ops import is_named
from neurokit.program.passes.base import Pass

_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")


def _same(module: GraphModule) -> list[Node]:
    """Returns the adaptive poolings to the size that their input has: published networks pool 7 x 7 to 7 x 7."""
    found = []
    for node in module.graph.nodes:
        if is_named(node, _ADAPTIVE):
            sizes: Any = node.args[1]
            wanted = tuple(sizes) if isinstance(sizes, list | tuple) else (sizes,)
            shape = tuple(node.args[0].meta["val"].shape[-len(wanted) :])
            if all(isinstance(size, int) for size in (*shape, *wanted)) and shape == wanted:
                found.append(node)
    return found


def _rewrite(module: GraphModule) -> None:
    for node in _same(module):
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        module.graph.erase_node(node)


WHOLE_POOLS = Pass("no averages over single elements", _rewrite, after=lambda module: [n.name for n in _same(module)])
