"""Transposed convolutions as convolutions of the input with zeros between its elements: the same sums of products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from neurokit.program.nodes import aten, is_constant
from neurokit.program.walk import fetch, store

_KINDS: dict[Any, tuple[Any, int]] = {
    aten.conv_transpose1d.default: (aten.conv1d.default, 1),
    aten.conv_transpose2d.input: (aten.conv2d.default, 2),
    aten.conv_transpose3d.input: (aten.conv3d.default, 3),
}
_DEFAULTS = (None, 1, 0, 0, 1, 1)  # bias, stride, padding, output padding, groups, dilation


def as_convolutions(module: Any, graph: Graph) -> None:
    """Rewrites every transposed convolution with constant weights, in place."""
    turned: dict[tuple[str, int], str] = {}
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in _KINDS and is_constant(node.args[1]):
            _rewrite(module, graph, node, turned)


def _rewrite(module: Any, graph: Graph, node: Node, known: dict[tuple[str, int], str]) -> None:
    target, axes = _KINDS[node.target]
    given: list[Any] = [*node.args[2:], *_DEFAULTS[len(node.args) - 2 :]]
    bias, groups = given[0], int(given[4])
    stride, padding, extra, dilation = (_each(given[at], axes) for at in (1, 2, 3, 5))
    source = str(node.args[1].target)  # type: ignore[union-attr]
    weight = fetch(module, source)
    path = known.get((source, groups))
    if path is None:  # a layer's name is its weight's; nothing lies below a tensor that is no layer's
        at = source.removesuffix("weight") if source.endswith(".weight") else f"{source}_"
        path = known[source, groups] = f"{at}turned_{groups}.weight"
        store(module, path, _turned(weight, groups, axes))
    with graph.inserting_before(node):
        x: Any = node.args[0]
        for axis in range(axes):
            x = _spread(graph, x, axis - axes, stride[axis])
        reach = [dilation[at] * (weight.shape[2 + at] - 1) - padding[at] for at in range(axes)]
        pads = [size for at in reversed(range(axes)) for size in (reach[at], reach[at] + extra[at])]
        if any(pads):
            x = _call(graph, aten.constant_pad_nd.default, (x, pads, 0.0))
        turned = graph.get_attr(path)
        turned.meta["val"] = fetch(module, path)
        ones, none = [1] * axes, [0] * axes
        made = graph.call_function(target, (x, turned, bias, ones, none, dilation, groups))
    made.meta.update(node.meta)
    node.replace_all_uses_with(made)
    graph.erase_node(node)


def _each(value: Any, axes: int) -> list[int]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [int(v) for v in (values if len(values) == axes else values * axes)]


def _turned(weight: Tensor, groups: int, axes: int) -> Tensor:
    """Returns `[C_in, C_out / groups, ...]` as `[C_out, C_in / groups, ...]`, mirrored in space."""
    split = weight.detach().unflatten(0, (groups, -1)).transpose(1, 2)
    return split.flatten(0, 1).flip(list(range(2, 2 + axes))).contiguous()


def _spread(graph: Graph, x: Node, axis: int, stride: int) -> Node:
    """Returns `x` with `stride - 1` zeros between its elements along an axis (counted from the last)."""
    if stride == 1:
        return x
    length = int(x.meta["val"].shape[axis])
    rank = x.meta["val"].dim()
    place = rank + axis
    behind = rank - 1 - place  # axes behind it
    wide = _call(graph, aten.unsqueeze.default, (x, place + 1))
    wide = _call(graph, aten.constant_pad_nd.default, (wide, [0, 0] * behind + [0, stride - 1], 0.0))
    wide = _call(graph, aten.flatten.using_ints, (wide, place, place + 1))
    return _call(graph, aten.slice.Tensor, (wide, place, 0, length * stride - stride + 1))


def _call(graph: Graph, target: Any, args: tuple[Any, ...]) -> Node:
    made = graph.call_function(target, args)
    values = torch.fx.node.map_arg(args, lambda node: node.meta["val"])
    made.meta["val"] = target(*values)
    return made
