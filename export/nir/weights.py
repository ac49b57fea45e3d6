"""Linear maps and normalisations as nodes of NIR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neurokit.export.nir.graph import (
    PARTITION,
    WEIGHTED,
    GraphBuilder,
    Joined,
    Value,
    module_path,
    op_name,
    pair,
    shape_of,
    values_in,
)

if TYPE_CHECKING:
    from torch.fx import Node

_LINEAR = torch.ops.aten.linear.default


def conv(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A convolution, with groups kept or made dense."""
    value, weight = args[0], args[1]
    bias = args[2] if len(args) > 2 else None
    axes = weight.dim() - 2
    defaults = [[1] * axes, [0] * axes, [1] * axes, 1]
    given = list(args[3:])
    stride, padding, dilation, groups = [*given, *defaults[len(given) :]]
    if not isinstance(value, Value) or len(value.shape) != axes + 1:
        return graph.refuse(node, op_name(node), "its input is no image of a single sample", PARTITION, values_in(args))
    array = weight.detach().numpy().astype(np.float32)
    if groups > 1 and graph.dense_groups:
        array, groups = dense(array, groups), 1
    offset = np.zeros(array.shape[0], np.float32) if bias is None else bias.detach().numpy().astype(np.float32)
    spatial = value.shape[1:]
    sides = (lambda v: int(v[0] if isinstance(v, Sequence) else v)) if axes == 1 else pair
    fields = {
        "input_shape": int(spatial[0]) if axes == 1 else tuple(spatial),
        "weight": array,
        "stride": sides(stride),
        "padding": padding if isinstance(padding, str) else sides(padding),
        "dilation": sides(dilation),
        "groups": int(groups),
        "bias": offset,
    }
    return graph.add(f"Conv{axes}d", fields, value, node, shape_of(node)[len(value.lead) :])


def dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """Returns the weight of the dense convolution that equals a grouped one."""
    out, inner = weight.shape[0] // groups, weight.shape[1]
    wide = np.zeros((weight.shape[0], inner * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * out, (group + 1) * out)
        wide[rows, group * inner : (group + 1) * inner] = weight[rows]
    return wide


def linear(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A linear map of vectors."""
    value, weight = args[0], args[1]
    bias = args[2] if len(args) > 2 else None
    if not isinstance(value, Value) or not isinstance(weight, Tensor):
        return graph.refuse(node, op_name(node), "its weight is computed from the input", PARTITION, values_in(args))
    if len(value.shape) != 1:
        why = f"it maps the last axis of {list(value.shape)}, and NIR's Affine takes vectors"
        fix = "flatten before it, or write it as a 1x1 convolution"
        return graph.refuse(node, op_name(node), why, fix, [value])
    array = weight.detach().numpy().astype(np.float32)
    offset = {} if bias is None else {"bias": bias.detach().numpy().astype(np.float32)}
    parts = value.parts if isinstance(value, Joined) else (value,)
    ends = np.cumsum([part.shape[0] for part in parts])[:-1]
    made = [
        graph.add("Affine" if given else "Linear", {"weight": columns.copy(), **given}, part, node, (array.shape[0],))
        for part, columns, given in zip(parts, np.split(array, ends, axis=1), [offset] + [{}] * len(ends), strict=True)
    ]
    return made[0] if len(made) == 1 else replace(made[0], sources=tuple(m.sources[0] for m in made), sole=False)


def cat(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """Vectors that are joined for linear maps alone: these become a sum of maps of each."""
    parts, axis = args[0], args[1] if len(args) > 1 else 0
    fit = all(isinstance(part, Value) and len(part.shape) == 1 for part in parts)
    rank = len(shape_of(node))
    if not fit or axis % rank != rank - 1 or any(user.target is not _LINEAR for user in node.users):
        return graph.refuse(node, op_name(node), "NIR has no node that joins channels", PARTITION, values_in(parts))
    sources = tuple(source for part in parts for source in part.sources)
    return Joined(sources, parts[0].lead, (sum(part.shape[0] for part in parts),), sole=False, parts=tuple(parts))


def batch_norm(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A batch normalisation, folded where it can be."""
    value, weight, bias, mean, var = args[:5]
    eps = next(a for a in reversed(args) if isinstance(a, float))
    scale = 1.0 / torch.sqrt(var.double() + eps)
    scale = scale * weight.double() if weight is not None else scale
    shift = (bias.double() if bias is not None else 0.0) - mean.double() * scale
    return channelwise(graph, node, value, scale.detach().numpy(), shift.detach().numpy())


def channelwise(graph: GraphBuilder, node: Node, value: Value, scale: np.ndarray, shift: np.ndarray) -> Value:
    """Returns scale * x + shift, one number of each a channel: folded into the layer before, or a layer of its own."""
    made = graph.nodes.get(value.sources[0]) if len(value.sources) == 1 else None
    if made is not None and made.kind in WEIGHTED and value.sole and made.shape[0] == value.shape[0] == len(scale):
        weight = made.fields["weight"]
        old = made.fields.get("bias", np.zeros(weight.shape[0], np.float32))
        wide = scale.reshape(-1, *[1] * (weight.ndim - 1))
        made.fields["weight"] = (weight.astype(np.float64) * wide).astype(np.float32)
        made.fields["bias"] = (old.astype(np.float64) * scale + shift).astype(np.float32)
        made.kind = "Affine" if made.kind == "Linear" else made.kind
        made.tensor, made.lead = node.name, value.lead
        return value
    graph.rewrites.append(f"{module_path(node) or node.name}: normalisation as a layer of its own")
    count = value.shape[0]
    if len(value.shape) == 1:
        fields = {"weight": np.diag(scale).astype(np.float32), "bias": shift.astype(np.float32)}
        return graph.add("Affine", fields, value, node, value.shape)
    if len(value.shape) not in (2, 3):
        return graph.refuse(node, op_name(node), "it normalises neither vectors nor images", PARTITION, [value])
    axes = len(value.shape) - 1
    weight = scale.reshape(count, 1, *[1] * axes).astype(np.float32)
    groups = count
    if graph.dense_groups:
        weight, groups = dense(weight, count), 1
    one, zero = (1, 0) if axes == 1 else ((1, 1), (0, 0))
    fields = {
        "input_shape": int(value.shape[1]) if axes == 1 else tuple(value.shape[1:]),
        "weight": weight,
        "stride": one,
        "padding": zero,
        "dilation": one,
        "groups": groups,
        "bias": shift.astype(np.float32),
    }
    return graph.add(f"Conv{axes}d", fields, value, node, value.shape)
