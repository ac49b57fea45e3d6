"""Folds normalisations into the convolutions before or behind them: weights in float64, rounded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.program.nodes import CONVOLUTIONS, aten, convolution_settings, is_constant, is_op, is_weighted
from neurokit.program.passes.base import Pass
from neurokit.program.walk import fetch, store


def _rewrite(module: GraphModule) -> None:
    for node in list(module.graph.nodes):
        if _foldable(node):
            _fold(module, node)
    module.graph.eliminate_dead_code()


def _foldable(node: Node) -> bool:
    """Whether a node normalises what one convolution alone gives it, by numbers that are known."""
    conv = node.args[0] if _normalises(node) else None
    if not (isinstance(conv, Node) and is_weighted(conv) and len(conv.users) == 1):
        return False
    if "conv" not in str(conv.target) or "transpose" in str(conv.target) or conv.kwargs:
        return False
    return _known(conv.args[1:3])


def _normalises(node: Any) -> bool:
    """Whether a node is a normalisation by statistics that are known."""
    return is_op(node, {aten.batch_norm.default}) and not node.args[5] and _known(node.args[1:5])


def _known(values: Sequence[Any]) -> bool:
    return all(value is None or is_constant(value) for value in values)


def _read(module: GraphModule, value: Any) -> Tensor | None:
    return None if value is None else fetch(module, str(value.target)).detach().double()


def _affine(module: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """Returns what a normalisation multiplies each channel by, and what it adds."""
    gain, shift, mean, variance = (_read(module, value) for value in norm.args[1:5])
    assert mean is not None
    assert variance is not None
    scale = torch.rsqrt(variance + float(norm.args[7]))  # type: ignore[arg-type]
    scale = scale if gain is None else scale * gain
    return scale, (0.0 if shift is None else shift) - mean * scale


def _fold(module: GraphModule, node: Node) -> None:
    conv = node.args[0]
    assert isinstance(conv, Node)
    weight, bias = (_read(module, value) for value in [*conv.args[1:3], None][:2])
    assert weight is not None
    scale, offset = _affine(module, node)
    made = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    _give(module, conv, node.name, made, offset if bias is None else bias * scale + offset)
    node.replace_all_uses_with(conv)
    module.graph.erase_node(node)


def _give(module: GraphModule, conv: Node, name: str, weight: Tensor, bias: Tensor) -> None:
    """Gives a convolution other weights, of the type of those that it has."""
    dtype = fetch(module, str(conv.args[1].target)).dtype  # type: ignore[union-attr]
    arguments = list(conv.args) + [None] * (3 - len(conv.args))
    for place, what, value in ((1, "weight", weight), (2, "bias", bias)):
        store(module, f"folded_{name}.{what}", value.to(dtype))
        with module.graph.inserting_before(conv):
            arguments[place] = module.graph.get_attr(f"folded_{name}.{what}")
        arguments[place].meta["val"] = value.to(dtype)  # type: ignore[union-attr]
    conv.args = tuple(arguments)


def _left(module: GraphModule) -> list[str]:
    return [f"{node.name} follows a convolution alone" for node in module.graph.nodes if _foldable(node)]


FOLD_NORMS = Pass("fold normalisations into convolutions", _rewrite, after=_left)


def _rewrite_behind(module: GraphModule) -> None:
    for conv in list(module.graph.nodes):
        if _norm_before(conv) is not None:
            _fold_behind(module, conv)
        if (sides := _zeros_before(conv)) is not None:
            _pad_inside(conv, sides)
    module.graph.eliminate_dead_code()


def _is_convolution(node: Node) -> bool:
    """Whether a node is a convolution whose weights are known, and its padding numbers."""
    if not is_op(node, set(CONVOLUTIONS.values())) or node.kwargs or not _known(node.args[1:3]):
        return False
    return not isinstance(convolution_settings(node)[1], str)


def _norm_before(conv: Node) -> Node | None:
    """Returns the normalisation in front of a convolution without padding that alone reads it, or None."""
    if not _is_convolution(conv) or any(convolution_settings(conv)[1]):
        return None
    norm = conv.args[0]
    return norm if _normalises(norm) and len(norm.users) == 1 else None  # type: ignore[return-value, union-attr]


def _fold_behind(module: GraphModule, conv: Node) -> None:
    """Every window sees the sum that a normalisation adds, so that it is one of the outputs' bias."""
    norm = conv.args[0]
    assert isinstance(norm, Node)
    weight, bias = (_read(module, value) for value in [*conv.args[1:3], None][:2])
    assert weight is not None
    groups = convolution_settings(conv)[3]
    # [C] -> [N, C / groups]: the channels that an output reads.
    scale, offset = (
        value.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1).flatten(0, 1)
        for value in _affine(module, norm)
    )
    kernel = [1] * (weight.dim() - 2)
    made = weight * scale.reshape(*scale.shape, *kernel)
    added = (weight * offset.reshape(*offset.shape, *kernel)).flatten(1).sum(1)
    _give(module, conv, norm.name, made, added if bias is None else bias + added)
    norm.replace_all_uses_with(norm.args[0])  # type: ignore[arg-type]
    module.graph.erase_node(norm)


def _zeros_before(conv: Node) -> list[int] | None:
    """Returns the zeros that a node puts around what one convolution alone reads, by axis, or None."""
    pad = conv.args[0] if _is_convolution(conv) else None
    if not is_op(pad, {aten.pad.default, aten.constant_pad_nd.default}) or len(pad.users) != 1:  # type: ignore[union-attr]
        return None
    _, given, *rest = pad.args  # type: ignore[union-attr]
    words = [value for value in (*rest, *pad.kwargs.values()) if value not in ("constant", 0, 0.0, None)]  # type: ignore[union-attr]
    axes = next(count for count, target in CONVOLUTIONS.items() if target is conv.target)
    sides = [*given, *[0] * (2 * axes)]  # type: ignore[misc]
    before, after = sides[0 : 2 * axes : 2], sides[1 : 2 * axes : 2]
    if words or len(given) > 2 * axes or before != after or not all(isinstance(one, int) for one in sides):  # type: ignore[arg-type]
        return None
    return before[::-1] if min(before) >= 0 else None


def _pad_inside(conv: Node, sides: list[int]) -> None:
    pad = conv.args[0]
    assert isinstance(pad, Node)
    settings = list(convolution_settings(conv))
    held = list(settings[1]) * (len(sides) if len(settings[1]) == 1 else 1)
    settings[1] = [one + more for one, more in zip(held, sides, strict=True)]
    bias = conv.args[2] if len(conv.args) > 2 else None
    conv.args = (pad.args[0], conv.args[1], bias, *settings)


def _left_behind(module: GraphModule) -> list[str]:
    nodes = [node for node in module.graph.nodes if _norm_before(node) is not None or _zeros_before(node) is not None]
    return [f"{node.name} follows a normalisation, or zeros, alone" for node in nodes]


FOLD_BEHIND = Pass(
    "fold normalisations and zeros into the convolutions behind them", _rewrite_behind, after=_left_behind
)
