"""Takes a splitting into one part for what it is, the tensor itself: ONNX has no sequence of one."""

from __future__ import annotations

import operator

from torch.fx import GraphModule, Node

from neurokit.program.ops import is_named
from neurokit.program.passes.base import Pass

_SPLITS = ("chunk", "split", "split_with_sizes", "tensor_split")


def _parts(module: GraphModule) -> list[Node]:
    return [node for node in module.graph.nodes if is_named(node, _SPLITS) and len(node.meta.get("val", ())) == 1]


def _rewrite(module: GraphModule) -> None:
    for node in _parts(module):
        for user in [user for user in node.users if user.target is operator.getitem]:
            user.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
            module.graph.erase_node(user)
        if not node.users:
            module.graph.erase_node(node)


SINGLE_PARTS = Pass(
    "splittings into one part",
    _rewrite,
    after=lambda module: [
        node.name for node in _parts(module) if any(u.target is operator.getitem for u in node.users)
    ],
)
