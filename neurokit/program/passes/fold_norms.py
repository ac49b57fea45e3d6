"""Folds normalisations into the convolutions and linear maps before them: weights in float64, rounded once."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from neurokit.program.nodes import aten, is_op, is_weighted
from neurokit.program.passes.base import Pass
from neurokit.program.walk import fetch, store


def _rewrite(module: GraphModule) -> None:
    for node in list(module.graph.nodes):
        if _foldable(node):
            _fold(module, node)
    module.graph.eliminate_dead_code()


def _foldable(node: Node) -> bool:
    """Whether a node normalises what one convolution alone gives it, by numbers that are known."""
    if not is_op(node, {aten.batch_norm.default}) or node.args[5]:
        return False
    conv = node.args[0]
    if not (isinstance(conv, Node) and is_weighted(conv) and len(conv.users) == 1):
        return False
    if "conv" not in str(conv.target) or "transpose" in str(conv.target) or conv.kwargs:
        return False
    constants = (*conv.args[1:3], *node.args[1:5])
    return all(value is None or (isinstance(value, Node) and value.op == "get_attr") for value in constants)


def _fold(module: GraphModule, node: Node) -> None:
    conv = node.args[0]
    assert isinstance(conv, Node)

    def read(value: object) -> torch.Tensor | None:
        return None if value is None else fetch(module, str(value.target)).detach().double()  # type: ignore[attr-defined]

    weight, bias = read(conv.args[1]), read(conv.args[2] if len(conv.args) > 2 else None)
    gain, shift, mean, variance = (read(value) for value in node.args[1:5])
    assert weight is not None
    assert mean is not None
    assert variance is not None
    dtype = fetch(module, str(conv.args[1].target)).dtype  # type: ignore[union-attr]
    scale = torch.rsqrt(variance + float(node.args[7]))  # type: ignore[arg-type]
    scale = scale if gain is None else scale * gain
    offset = ((0.0 if bias is None else bias) - mean) * scale + (0.0 if shift is None else shift)
    made = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    arguments = list(conv.args) + [None] * (3 - len(conv.args))
    for place, name, value in ((1, "weight", made), (2, "bias", offset)):
        store(module, f"folded_{node.name}.{name}", value.to(dtype))
        with module.graph.inserting_before(conv):
            arguments[place] = module.graph.get_attr(f"folded_{node.name}.{name}")
        arguments[place].meta["val"] = value.to(dtype)  # type: ignore[union-attr]
    conv.args = tuple(arguments)
    node.replace_all_uses_with(conv)
    module.graph.erase_node(node)


def _left(module: GraphModule) -> list[str]:
    return [f"{node.name} follows a convolution alone" for node in module.graph.nodes if _foldable(node)]


FOLD_NORMS = Pass("fold normalisations into convolutions", _rewrite, after=_left)
