"""Which operations of a captured program do what, as the exact form needs to know."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node

aten = torch.ops.aten

CONVOLUTIONS = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.conv2d.padding}
LINEARS = {*CONVOLUTIONS, aten.linear.default}
# Move elements or drop nothing but what evaluation mode drops.
MOVES = {
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.permute.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.expand.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.repeat.default,
    aten.chunk.default,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    operator.getitem,
    aten.squeeze.default,
    aten.flip.default,
    aten.roll.default,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.lift_fresh_copy.default,
    aten.upsample_nearest2d.vec,
}
RELUS = {aten.relu.default, aten.relu_.default}
CLAMPS = {aten.hardtanh.default, aten.hardtanh_.default, aten.clamp.default, aten.relu6.default}
MAX_POOLS = {aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default}
MEANS = {aten.mean.dim, aten.mean.default}
ADDS = {aten.add.Tensor, aten.add_.Tensor, aten.sub.Tensor, aten.sub_.Tensor}
MULTIPLIES = {aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar, aten.div_.Tensor}
DIVIDES = {aten.div.Tensor, aten.div.Scalar, aten.div_.Tensor}
MATMULS = {aten.matmul.default, aten.mm.default, aten.bmm.default}
AVERAGE_POOLS = {aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default}
IF, LIF, PLIF = (getattr(torch.ops.neurokit, name).default for name in ("if_", "lif", "plif"))
NEURONS = {IF: "if_", LIF: "lif", PLIF: "plif"}
# Where the named arguments of a neuron's node stand.
PLACES = {
    "if_": {"v_threshold": 2, "v_reset": 3},
    "lif": {"tau": 2, "v_threshold": 3, "v_reset": 4, "decay_input": 5},
    "plif": {"decay": 2, "v_threshold": 3, "v_reset": 4, "decay_input": 5},
}


def is_op(node: Any, targets: Any) -> bool:
    """Returns whether `node` calls one of `targets`."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def hint(size: Any) -> int:
    """Returns a number for a size that may be symbolic: the one it was traced with."""
    return int(size) if isinstance(size, int) else int(size.node.hint)


def hints(node: Node) -> tuple[int, ...]:
    """Returns the shape of a node's tensor in numbers."""
    return tuple(hint(size) for size in node.meta["val"].shape)


def time_mean(node: Any) -> Node | None:
    """Returns the mean over time that a value is, behind moves, or None.

    The streaming form has no such mean: it takes the mean of its outputs. What is rounded behind the mean here would
    be rounded at every step there, so roundings go before it.
    """
    while is_op(node, MOVES) and len(node.users) == 1:
        node = node.args[0]
    if not is_op(node, {aten.mean.dim}) or len(node.users) != 1:
        return None
    return node if list(node.args[1]) == [0] else None


def window_count(node: Node) -> tuple[int, tuple[int, int] | None]:
    """Returns how many elements an average pooling divides by and its kernel (with stride as large for adaptive ones).

    A kernel of None means that the count differs from place to place.
    """
    data: Any = node.args[0]
    if node.target is aten.adaptive_avg_pool2d.default:
        size, out = hints(data)[-2:], hints(node)[-2:]
        if any(s % o and o % s for s, o in zip(size, out, strict=True)):
            return 0, None
        kernel = tuple(max(1, s // o) for s, o in zip(size, out, strict=True))
        if any(s % o for s, o in zip(size, out, strict=True)) and max(kernel) > 1:
            return 0, None
        return kernel[0] * kernel[1], (kernel[0], kernel[1])
    kernel = _pair(node.args[1])
    padding = _pair(node.args[3]) if len(node.args) > 3 else (0, 0)
    includes = node.args[5] if len(node.args) > 5 else True
    ceil = node.args[4] if len(node.args) > 4 else False
    if len(node.args) > 6 and node.args[6] is not None:
        return int(node.args[6]), kernel  # type: ignore[arg-type]
    if ceil or (any(padding) and not includes):
        return 0, None
    return kernel[0] * kernel[1], kernel


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[-1])) if isinstance(value, list | tuple) else (int(value), int(value))
