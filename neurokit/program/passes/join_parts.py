"""Joins layers that keep channels apart, each given a part of one value, into one layer of the whole value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.fx import GraphModule, Node

from neurokit.program.nodes import aten, is_op
from neurokit.program.passes.base import Pass
from neurokit.program.passes.join import alike

#: `[B, C, H, W]`: the axis on which parts lie side by side.
_CHANNELS = 1


def _key(module: GraphModule, node: Node) -> Any:
    """Returns what layers must have in common to be joined, or None of one that cannot be."""
    layer: Any = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    kind = getattr(layer, "channelwise", None)
    part = node.args[0] if kind is not None else None
    if not is_op(part, {aten.narrow.default}) or part.args[1] != _CHANNELS:  # type: ignore[union-attr]
        return None
    return part.args[0], kind  # type: ignore[union-attr]


def whole_groups(groups: Iterable[list[Node]]) -> list[list[Node]]:
    """Returns those groups of layers that are given all parts of a value, in the order of the parts.

    Args:
        groups: Each of layers that are given parts (`narrow`) of one value.
    """
    ordered = [sorted(nodes, key=_begin) for nodes in groups]
    return [nodes for nodes in ordered if _whole(nodes)]


def _groups(module: GraphModule) -> list[list[Node]]:
    return whole_groups(alike(module, _key))


def _begin(node: Node) -> int:
    return int(node.args[0].args[2])  # type: ignore[arg-type, union-attr]


def _whole(nodes: list[Node]) -> bool:
    """Whether parts follow each other from the first channel to the last."""
    end = 0
    for node in nodes:
        if _begin(node) != end:
            return False
        end += int(node.args[0].args[3])  # type: ignore[arg-type, union-attr]
    return bool(end == nodes[0].args[0].args[0].meta["val"].shape[_CHANNELS])  # type: ignore[union-attr]


def _rewrite(module: GraphModule) -> None:
    for nodes in _groups(module):
        layers: list[Any] = [module.get_submodule(str(node.target)) for node in nodes]
        source = nodes[0].args[0].args[0]  # type: ignore[union-attr]
        name = f"joined_{nodes[0].name}"
        module.add_module(name, layers[0].beside(layers[1:]))
        with module.graph.inserting_after(source):  # type: ignore[arg-type]
            whole = module.graph.call_module(name, (source,))
        value = nodes[0].meta["val"]
        count = sum(layer.channels for layer in layers)
        whole.meta = {**nodes[0].meta, "val": value.new_empty(value.shape[0], count, *value.shape[2:])}
        for node in nodes:
            with module.graph.inserting_before(node):
                part = module.graph.call_function(aten.narrow.default, (whole, *node.args[0].args[1:]))  # type: ignore[union-attr]
            part.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(part)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()


def _left(module: GraphModule) -> list[str]:
    return [f"{', '.join(node.name for node in nodes)} are apart" for nodes in _groups(module)]


JOIN_PARTS = Pass("join layers of single channels that are given the parts of one value", _rewrite, after=_left)
