"""Which operation of a captured program is which node of NIR; each rule says why where it is none."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neurokit.export.nir_graph import WEIGHTED, GraphBuilder, Value, module_path, shape_of

if TYPE_CHECKING:
    from torch.fx import Node

aten = torch.ops.aten
Rule = Callable[[GraphBuilder, "Node", Sequence[Any], dict[str, Any]], Any]
_PARTITION = "split the model there, or export its parts with --option partition=true"


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
    return graph.refuse(node, _op(node), why, _PARTITION, [value])


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


def _conv(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    value, weight = args[0], args[1]
    bias = args[2] if len(args) > 2 else None
    axes = weight.dim() - 2
    defaults = [[1] * axes, [0] * axes, [1] * axes, 1]
    given = list(args[3:])
    stride, padding, dilation, groups = [*given, *defaults[len(given) :]]
    if not isinstance(value, Value) or len(value.shape) != axes + 1:
        return graph.refuse(node, _op(node), "its input is no image of a single sample", _PARTITION, _values(args))
    array = weight.detach().numpy().astype(np.float32)
    if groups > 1 and graph.dense_groups:
        array, groups = _dense(array, groups), 1
    offset = np.zeros(array.shape[0], np.float32) if bias is None else bias.detach().numpy().astype(np.float32)
    spatial = value.shape[1:]
    pair = (lambda v: int(v[0] if isinstance(v, Sequence) else v)) if axes == 1 else _pair
    fields = {
        "input_shape": int(spatial[0]) if axes == 1 else tuple(spatial), "weight": array, "stride": pair(stride),
        "padding": padding if isinstance(padding, str) else pair(padding), "dilation": pair(dilation),
        "groups": int(groups), "bias": offset,
    }  # fmt: skip
    return graph.add(f"Conv{axes}d", fields, value, node, shape_of(node)[len(value.lead) :])


def _dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """Returns the weight of the dense convolution that equals a grouped one."""
    out, inner = weight.shape[0] // groups, weight.shape[1]
    dense = np.zeros((weight.shape[0], inner * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * out, (group + 1) * out)
        dense[rows, group * inner : (group + 1) * inner] = weight[rows]
    return dense


def _pair(value: Any) -> tuple[int, int]:
    flat = list(value) if isinstance(value, Sequence) else [value]
    return (int(flat[0]), int(flat[-1]))


def _linear(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    value, weight = args[0], args[1]
    bias = args[2] if len(args) > 2 else None
    if not isinstance(value, Value) or not isinstance(weight, Tensor):
        return graph.refuse(node, _op(node), "its weight is computed from the input", _PARTITION, _values(args))
    if len(value.shape) != 1:
        why = f"it maps the last axis of {list(value.shape)}, and NIR's Affine takes vectors"
        fix = "flatten before it, or write it as a 1x1 convolution"
        return graph.refuse(node, _op(node), why, fix, [value])
    array = weight.detach().numpy().astype(np.float32)
    fields = {"weight": array} if bias is None else {"weight": array, "bias": bias.detach().numpy().astype(np.float32)}
    return graph.add("Linear" if bias is None else "Affine", fields, value, node, (array.shape[0],))


def _batch_norm(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
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
        return graph.refuse(node, _op(node), "it normalises neither vectors nor images", _PARTITION, [value])
    axes = len(value.shape) - 1
    weight = scale.reshape(count, 1, *[1] * axes).astype(np.float32)
    groups = count
    if graph.dense_groups:
        weight, groups = _dense(weight, count), 1
    one, zero = (1, 0) if axes == 1 else ((1, 1), (0, 0))
    fields = {
        "input_shape": int(value.shape[1]) if axes == 1 else tuple(value.shape[1:]), "weight": weight, "stride": one,
        "padding": zero, "dilation": one, "groups": groups, "bias": shift.astype(np.float32),
    }  # fmt: skip
    return graph.add(f"Conv{axes}d", fields, value, node, value.shape)


def _add(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    a, b = args[0], args[1]
    if kwargs.get("alpha", 1) != 1:
        b = _scaled(graph, node, b, float(kwargs["alpha"])) if isinstance(b, Value) else b * kwargs["alpha"]
    if isinstance(a, Value) and isinstance(b, Value):
        if a.shape != b.shape or a.lead != b.lead:
            why = f"it adds {list(b.shape)} to {list(a.shape)}, and edges of NIR do not broadcast"
            return graph.refuse(node, _op(node), why, _PARTITION, [a, b])
        return graph.sum_of(a, b, node)
    value, constant = (a, b) if isinstance(a, Value) else (b, a)
    shift = _per_channel(constant, value)
    if shift is None:
        return graph.refuse(node, _op(node), "it adds a constant that differs within a channel", _PARTITION, [value])
    return channelwise(graph, node, value, np.ones(value.shape[0]), shift) if shift.any() else value


def _sub(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    alpha = kwargs.get("alpha", 1)
    if isinstance(args[0], Value):
        return _add(graph, node, args, {"alpha": -alpha})
    return _add(graph, node, (_scaled(graph, node, args[1], -float(alpha)), args[0]), {})


def _per_channel(constant: Any, value: Value) -> np.ndarray | None:
    """Returns a constant as one number a channel, or None if it is not one."""
    array = np.asarray(constant.detach().numpy() if isinstance(constant, Tensor) else constant, dtype=np.float64)
    if array.size == 1:
        return np.full(value.shape[0], float(array.reshape(-1)[0]))
    tail = array.reshape([1] * (len(value.shape) - array.ndim) + list(array.shape)) if array.ndim else array
    while tail.ndim > len(value.shape) and tail.shape[0] == 1:
        tail = tail[0]
    flat = tail.shape[:1] == (value.shape[0],) and math.prod(tail.shape[1:]) == 1
    return tail.reshape(-1) if flat else None


def _mul(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    a, b = args[0], args[1]
    if isinstance(a, Value) and isinstance(b, Value):
        why = "it multiplies two activations (a gate or attention), and NIR multiplies by constants only"
        return graph.refuse(node, _op(node), why, _PARTITION, [a, b])
    value, constant = (a, b) if isinstance(a, Value) else (b, a)
    return _scaled(graph, node, value, constant)


def _div(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    if isinstance(args[1], Value):
        return graph.refuse(node, _op(node), "it divides by an activation", _PARTITION, _values(args))
    return _scaled(graph, node, args[0], 1.0 / args[1])


def _scaled(graph: GraphBuilder, node: Node, value: Value, constant: Any) -> Value:
    array = np.asarray(constant.detach().numpy() if isinstance(constant, Tensor) else constant, dtype=np.float32)
    while array.ndim > len(value.shape) and array.shape[0] == 1:
        array = array[0]
    try:
        full = np.broadcast_to(array, value.shape)
    except ValueError:
        return graph.refuse(node, _op(node), "it scales by numbers that differ by step or sample", _PARTITION, [value])
    return value if (full == 1).all() else graph.add("Scale", {"scale": full.copy()}, value, node, value.shape)


def _avg_pool(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    defaults = [None, None, [], 0, False, True, None]
    value, kernel, stride, padding, ceil, include, divisor = [*args, *defaults[len(args) :]]
    divisor = kwargs.get("divisor_override", divisor)
    if len(value.shape) != 3 or ceil or (divisor not in (None, 1)) or (not include and any(_pair(padding))):
        why = "NIR's AvgPool2d rounds sizes down, counts the padding, and divides by the window"
        return graph.refuse(node, _op(node), why, "use ceil_mode=False and count_include_pad=True", [value])
    fields = {
        "kernel_size": np.array(_pair(kernel)), "stride": np.array(_pair(stride or kernel)),
        "padding": np.array(_pair(padding)),
    }  # fmt: skip
    kind = "SumPool2d" if divisor == 1 else "AvgPool2d"
    return graph.add(kind, fields, value, node, shape_of(node)[len(value.lead) :])


def _adaptive(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    value, size = args[0], _pair(args[1])
    spatial = value.shape[1:]
    if len(value.shape) != 3 or any(have % want for have, want in zip(spatial, size, strict=False)):
        why = f"windows of unequal sizes map {list(spatial)} to {list(size)}"
        return graph.refuse(node, _op(node), why, "use AvgPool2d with a fixed window", [value])
    return _window(graph, node, value, (spatial[0] // size[0], spatial[1] // size[1]))


def _window(graph: GraphBuilder, node: Node, value: Value, kernel: tuple[int, int]) -> Value:
    if kernel == (1, 1):
        return value
    fields = {"kernel_size": np.array(kernel), "stride": np.array(kernel), "padding": np.array((0, 0))}
    out = (value.shape[0], value.shape[1] // kernel[0], value.shape[2] // kernel[1])
    return graph.add("AvgPool2d", fields, value, node, out)


def _max_pool(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """The largest of spikes is whether there is one: SumPool2d, then Threshold."""
    defaults = [None, None, [], 0, 1, False]
    value, kernel, stride, padding, dilation, ceil = [*args, *defaults[len(args) :]]
    if not value.spikes or ceil or _pair(dilation) != (1, 1) or len(value.shape) != 3:
        why = "NIR has no MaxPool, and only that of spikes (without dilation, rounding down) can be expressed"
        return graph.refuse(node, _op(node), why, "move it behind the neuron, or use AvgPool2d", [value])
    fields = {
        "kernel_size": np.array(_pair(kernel)), "stride": np.array(_pair(stride or kernel)),
        "padding": np.array(_pair(padding)),
    }  # fmt: skip
    shape = shape_of(node)[len(value.lead) :]
    graph.rewrites.append(f"{module_path(node) or node.name}: MaxPool of spikes as SumPool2d and Threshold")
    total = graph.add("SumPool2d", fields, value, node, shape)
    return graph.add("Threshold", {"threshold": np.full(shape, 0.5, np.float32)}, total, node, shape, spikes=True)


def _reduce(name: str) -> Rule:
    def rule(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
        value: Value = args[0]
        rank = len(value.lead) + len(value.shape)
        dims = args[1] if len(args) > 1 else None
        axes = sorted(d % rank for d in ([dims] if isinstance(dims, int) else dims or range(rank)))
        keep = bool(args[2]) if len(args) > 2 else bool(kwargs.get("keepdim", False))
        if axes == [0] and value.lead == ("T", "B") and not keep:
            if graph.time_output != name:
                why = f"it takes the {name} over time inside the network, and NIR has no such node"
                return graph.refuse(node, _op(node), why, "keep the time axis until the output", [value])
            return replace(value, lead=("B",), reduced=True, spikes=False)
        if name == "mean" and len(value.shape) == 3 and axes == [rank - 2, rank - 1]:
            pooled = _window(graph, node, value, (value.shape[1], value.shape[2]))
            return pooled if keep else _flat(graph, node, pooled)
        why = f"it takes the {name} over axes {axes}, which is no pooling over an image"
        return graph.refuse(node, _op(node), why, _PARTITION, [value])

    return rule


def _flat(graph: GraphBuilder, node: Node, value: Value) -> Value:
    fields = {"input_type": np.array(value.shape), "start_dim": 0, "end_dim": 2}
    return graph.add("Flatten", fields, value, node, (value.shape[0],))


def _select(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    value, dim, index = args[:3]
    if value.lead == ("T", "B") and dim == 0 and index in (-1, graph.steps - 1) and graph.time_output == "last":
        return replace(value, lead=("B",), reduced=True)
    why = "it takes one step or channel out, and NIR has no such node"
    return graph.refuse(node, _op(node), why, _PARTITION, [value])


def _threshold(at: bool) -> Rule:
    def rule(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
        from neurokit.interchange.nir_cells import fires_above

        value, limit = args[0], args[1]
        if not isinstance(value, Value) or isinstance(limit, Value):
            return graph.refuse(node, _op(node), "it compares two activations", _PARTITION, _values(args))
        array = np.asarray(limit.detach().numpy() if isinstance(limit, Tensor) else limit, dtype=np.float32)
        full = np.broadcast_to(fires_above(array) if at else array, value.shape).copy()
        return graph.add("Threshold", {"threshold": full}, value, node, value.shape, spikes=True)

    return rule


def _relu(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    if args[0].spikes:
        return args[0]
    return graph.refuse(node, _op(node), "NIR has no ReLU", "put a spiking neuron in its place", [args[0]])


def _values(args: Sequence[Any]) -> list[Value]:
    leaves = torch.utils._pytree.tree_leaves(list(args))
    return [value for value in leaves if isinstance(value, Value)]


def unknown(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """The rule of every operation that has none."""
    why = _WHY.get(node.target, "NIR has no node for it")
    return graph.refuse(node, _op(node), why, _PARTITION, [*_values(args), *_values(list(kwargs.values()))])


def _op(node: Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


_WHY = {
    **dict.fromkeys(
        (aten.matmul.default, aten.bmm.default, aten.einsum.default),
        "it multiplies two activations (attention), and NIR multiplies by constants only",
    ),
    **dict.fromkeys((aten.permute.default, aten.transpose.int), "NIR has no node that reorders axes"),
    aten.cat.default: "NIR has no node that joins channels",
    aten.layer_norm.default: "it normalises by the activations themselves, which NIR cannot",
    aten.softmax.int: "NIR has no softmax",
}  # fmt: skip
RULES: dict[Any, Rule] = {
    **dict.fromkeys(
        (aten.clone.default, aten.contiguous.default, aten.detach.default, aten.dropout.default, aten.to.dtype,
         aten._to_copy.default, aten.alias.default, aten.feature_dropout.default, aten.to.dtype_layout), _same,
    ),
    aten._assert_tensor_metadata.default: _ignore,
    **dict.fromkeys(
        (aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.unflatten.int, aten.squeeze.dim,
         aten.squeeze.dims, aten.squeeze.default, aten.unsqueeze.default), _reshape,
    ),
    **dict.fromkeys((aten.expand.default, aten.repeat.default), _repeat),
    **dict.fromkeys((aten.conv1d.default, aten.conv2d.default, aten.conv1d.padding, aten.conv2d.padding), _conv),
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    **dict.fromkeys((aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar, operator.add), _add),
    **dict.fromkeys((aten.sub.Tensor, aten.sub.Scalar), _sub),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar), _mul),
    **dict.fromkeys((aten.div.Tensor, aten.div.Scalar), _div),
    aten.neg.default: lambda graph, node, args, kwargs: _scaled(graph, node, args[0], -1.0),
    aten.avg_pool2d.default: _avg_pool,
    aten.adaptive_avg_pool2d.default: _adaptive,
    aten.max_pool2d.default: _max_pool,
    aten.mean.dim: _reduce("mean"),
    aten.sum.dim_IntList: _reduce("sum"),
    aten.select.int: _select,
    **dict.fromkeys((aten.gt.Scalar, aten.gt.Tensor), _threshold(at=False)),
    **dict.fromkeys((aten.ge.Scalar, aten.ge.Tensor), _threshold(at=True)),
    **dict.fromkeys((aten.relu.default, aten.relu_.default), _relu),
}  # fmt: skip
