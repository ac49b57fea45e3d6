"""Which operation of a captured program is which node of NIR; each rule says why where it is none."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurokit.export.nir.arithmetic import add, div, mul, relu, scaled, sub, threshold
from neurokit.export.nir.graph import PARTITION, GraphBuilder, Rule, Value, op_name, shape_of, values_in
from neurokit.export.nir.pooling import adaptive, avg_pool, max_pool, reduce, select
from neurokit.export.nir.weights import batch_norm, cat, conv, linear

if TYPE_CHECKING:
    from torch.fx import Node

aten = torch.ops.aten


def _same(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    return args[0]


def _ignore(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    return None


def _reshape(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """Folding and unfolding time is free; joining neighbouring axes of the sample is a Flatten."""
    value: Value = args[0]
    out = shape_of(node)
    families = (("T", "B"), ("TB",)) if value.lead in (("T", "B"), ("TB",)) else (("1", "B"), ("B",))
    for lead in sorted(families, key=lambda lead: lead != value.lead):
        rest = out[len(lead) :]
        if out[: len(lead)] != graph.sizes(lead) or math.prod(rest) != math.prod(value.shape):
            continue
        if rest == value.shape:
            return replace(value, lead=lead)
        span = _joined(value.shape, rest)
        if span is not None:
            fields = {"input_type": np.array(value.shape), "start_dim": span[0], "end_dim": span[1]}
            return replace(graph.add("Flatten", fields, value, node, rest, spikes=value.spikes), lead=lead)
    why = f"it reshapes {list(value.shape)} to {list(out)}, and NIR can only join neighbouring axes"
    fix = _FIX.get(node.target, PARTITION)
    return graph.refuse(node, op_name(node), why, fix, [value])


def _joined(shape: tuple[int, ...], rest: tuple[int, ...]) -> tuple[int, int] | None:
    for start in range(len(shape)):
        for end in range(start + 1, len(shape)):
            if (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]) == rest:
                return start, end
    return None


def _repeat(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """An image that is repeated over time is a constant input of every step."""
    value: Value = args[0]
    out = shape_of(node)
    if value.lead in (("1", "B"), ("B",)) and out == (*graph.sizes(("T", "B")), *value.shape):
        return replace(value, lead=("T", "B"))
    return _reshape(graph, node, args, kwargs)


def unknown(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """The rule of every operation that has none."""
    why = _WHY.get(node.target, "NIR has no node for it")
    fix = _FIX.get(node.target, PARTITION)
    return graph.refuse(node, op_name(node), why, fix, [*values_in(args), *values_in(list(kwargs.values()))])


_WHY = {
    **dict.fromkeys(
        (aten.matmul.default, aten.bmm.default, aten.einsum.default),
        "it multiplies two activations (attention), and NIR multiplies by constants only",
    ),
    **dict.fromkeys((aten.permute.default, aten.transpose.int), "NIR has no node that reorders axes"),
    **dict.fromkeys(
        (aten.round.default, aten.clamp.default),
        "it limits or rounds activations (as exact numerics do inside some networks), and NIR can state that of its"
        " input only",
    ),
    aten.layer_norm.default: "it normalises by the activations themselves, which NIR cannot",
    aten.softmax.int: "NIR has no softmax",
}


_FIX = dict.fromkeys(
    (aten.round.default, aten.clamp.default),
    "fewer time steps or --bits may need no rounding inside; else --numerics float, or --option partition=true",
)
RULES: dict[Any, Rule] = {
    **dict.fromkeys(
        (
            aten.clone.default,
            aten.contiguous.default,
            aten.detach.default,
            aten.dropout.default,
            aten.to.dtype,
            aten._to_copy.default,
            aten.alias.default,
            aten.feature_dropout.default,
            aten.to.dtype_layout,
        ),
        _same,
    ),
    aten._assert_tensor_metadata.default: _ignore,
    **dict.fromkeys(
        (
            aten.view.default,
            aten.reshape.default,
            aten.flatten.using_ints,
            aten.unflatten.int,
            aten.squeeze.dim,
            aten.squeeze.dims,
            aten.squeeze.default,
            aten.unsqueeze.default,
        ),
        _reshape,
    ),
    **dict.fromkeys((aten.expand.default, aten.repeat.default), _repeat),
    **dict.fromkeys((aten.conv1d.default, aten.conv2d.default, aten.conv1d.padding, aten.conv2d.padding), conv),
    aten.linear.default: linear,
    aten.cat.default: cat,
    aten.batch_norm.default: batch_norm,
    **dict.fromkeys((aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar, operator.add), add),
    **dict.fromkeys((aten.sub.Tensor, aten.sub.Scalar), sub),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar), mul),
    **dict.fromkeys((aten.div.Tensor, aten.div.Scalar), div),
    aten.neg.default: lambda graph, node, args, kwargs: scaled(graph, node, args[0], -1.0),
    aten.avg_pool2d.default: avg_pool,
    aten.adaptive_avg_pool2d.default: adaptive,
    aten.max_pool2d.default: max_pool,
    aten.mean.dim: reduce("mean"),
    aten.sum.dim_IntList: reduce("sum"),
    aten.select.int: select,
    **dict.fromkeys((aten.gt.Scalar, aten.gt.Tensor), threshold(at=False)),
    **dict.fromkeys((aten.ge.Scalar, aten.ge.Tensor), threshold(at=True)),
    **dict.fromkeys((aten.relu.default, aten.relu_.default), relu),
}
