"""Poolings and reductions as nodes of NIR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurokit.export.nir.graph import PARTITION, GraphBuilder, Rule, Value, module_path, op_name, pair, shape_of

if TYPE_CHECKING:
    from torch.fx import Node


def avg_pool(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """An average, or with a divisor of 1 a sum, over windows."""
    defaults = [None, None, [], 0, False, True, None]
    value, kernel, stride, padding, ceil, include, divisor = [*args, *defaults[len(args) :]]
    divisor = kwargs.get("divisor_override", divisor)
    if len(value.shape) != 3 or ceil or (divisor not in (None, 1)) or (not include and any(pair(padding))):
        why = "NIR's AvgPool2d rounds sizes down, counts the padding, and divides by the window"
        return graph.refuse(node, op_name(node), why, "use ceil_mode=False and count_include_pad=True", [value])
    fields = {
        "kernel_size": np.array(pair(kernel)),
        "stride": np.array(pair(stride or kernel)),
        "padding": np.array(pair(padding)),
    }
    kind = "SumPool2d" if divisor == 1 else "AvgPool2d"
    return graph.add(kind, fields, value, node, shape_of(node)[len(value.lead) :])


def adaptive(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """An average over windows of equal size."""
    value, size = args[0], pair(args[1])
    spatial = value.shape[1:]
    if len(value.shape) != 3 or any(have % want for have, want in zip(spatial, size, strict=False)):
        why = f"windows of unequal sizes map {list(spatial)} to {list(size)}"
        return graph.refuse(node, op_name(node), why, "use AvgPool2d with a fixed window", [value])
    return _window(graph, node, value, (spatial[0] // size[0], spatial[1] // size[1]))


def _window(graph: GraphBuilder, node: Node, value: Value, kernel: tuple[int, int], kind: str = "AvgPool2d") -> Value:
    if kernel == (1, 1):
        return value
    fields = {"kernel_size": np.array(kernel), "stride": np.array(kernel), "padding": np.array((0, 0))}
    out = (value.shape[0], value.shape[1] // kernel[0], value.shape[2] // kernel[1])
    return graph.add(kind, fields, value, node, out)


def max_pool(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """The largest of spikes is whether there is one: their sum over the window, and what fires at one."""
    defaults = [None, None, [], 0, 1, False]
    value, kernel, stride, padding, dilation, ceil = [*args, *defaults[len(args) :]]
    if not value.spikes or ceil or pair(dilation) != (1, 1) or len(value.shape) != 3:
        why = "NIR has no MaxPool, and only that of spikes (without dilation, rounding down) can be expressed"
        return graph.refuse(node, op_name(node), why, "move it behind the neuron, or use AvgPool2d", [value])
    fields = {
        "kernel_size": np.array(pair(kernel)),
        "stride": np.array(pair(stride or kernel)),
        "padding": np.array(pair(padding)),
    }
    shape = shape_of(node)[len(value.lead) :]
    name = module_path(node) or node.name
    if graph.maxpool == "neuron":
        graph.rewrites.append(f"{name}: MaxPool of spikes as Conv2d and LIF")
        return _any_of(graph, node, value, fields, shape)
    graph.rewrites.append(f"{name}: MaxPool of spikes as SumPool2d and Threshold")
    total = graph.add("SumPool2d", fields, value, node, shape)
    return graph.add("Threshold", {"threshold": np.full(shape, 0.5, np.float32)}, total, node, shape, spikes=True)


def _any_of(graph: GraphBuilder, node: Node, value: Value, window: dict[str, Any], shape: tuple[int, ...]) -> Value:
    """Whether a window has a spike, of nodes that every reader knows: a convolution of ones and a LIF.

    The LIF starts from its reset and goes back to it whenever there is a spike, so it carries nothing from step to
    step. Its threshold is below half a spike, for readers that take r for 1.
    """
    channels = value.shape[0]
    weight = np.zeros((channels, channels, *window["kernel_size"]), np.float32)
    weight[np.arange(channels), np.arange(channels)] = 1.0
    fields = {
        "input_shape": tuple(value.shape[1:]),
        "weight": weight,
        "stride": tuple(int(side) for side in window["stride"]),
        "padding": tuple(int(side) for side in window["padding"]),
        "dilation": (1, 1),
        "groups": 1,
        "bias": np.zeros(channels, np.float32),
    }
    total = graph.add("Conv2d", fields, value, node, shape)
    full = {"tau": 2 * graph.dt, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.25, "v_reset": 0.0}
    neuron = {key: np.full(shape, number, np.float32) for key, number in full.items()}
    return graph.add("LIF", neuron, total, node, shape, spikes=True)


def reduce(name: str) -> Rule:
    """Returns the rule of a mean or sum: over an image, or over time at the end."""

    def rule(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
        value: Value = args[0]
        rank = len(value.lead) + len(value.shape)
        dims = args[1] if len(args) > 1 else None
        axes = sorted(d % rank for d in ([dims] if isinstance(dims, int) else dims or range(rank)))
        keep = bool(args[2]) if len(args) > 2 else bool(kwargs.get("keepdim", False))
        if axes == [0] and value.lead == ("T", "B") and not keep:
            kinds = graph.time_output.split(",")
            summed = name == "sum" and "mean" in kinds and _divided(node, graph.steps)
            if name not in kinds and not summed:
                why = f"it takes the {name} over time inside the network, and NIR has no such node"
                return graph.refuse(node, op_name(node), why, "keep the time axis until the output", [value])
            return replace(value, lead=("B",), reduced=True, spikes=False, summed=summed)
        if len(value.shape) == 3 and axes == [rank - 2, rank - 1]:
            kind = "AvgPool2d" if name == "mean" else "SumPool2d"
            pooled = _window(graph, node, value, (value.shape[1], value.shape[2]), kind)
            return pooled if keep else _flat(graph, node, pooled)
        why = f"it takes the {name} over axes {axes}, which is no pooling over an image"
        return graph.refuse(node, op_name(node), why, PARTITION, [value])

    return rule


def _divided(node: Node, steps: int) -> bool:
    """Whether every reader of a sum divides it by the number of steps."""
    return all(
        (user.target == torch.ops.aten.div.Tensor and user.args[1] == steps)
        or (user.target == torch.ops.aten.mul.Tensor and user.args[1] == 1 / steps)
        for user in node.users
    )


def _flat(graph: GraphBuilder, node: Node, value: Value) -> Value:
    fields = {"input_type": np.array(value.shape), "start_dim": 0, "end_dim": 2}
    return graph.add("Flatten", fields, value, node, (value.shape[0],))


def select(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """The last step of a sequence."""
    value, dim, index = args[:3]
    last = dim == 0 and index in (-1, graph.steps - 1) and "last" in graph.time_output.split(",")
    if value.lead == ("T", "B") and last:
        return replace(value, lead=("B",), reduced=True)
    why = "it takes one step or channel out, and NIR has no such node"
    return graph.refuse(node, op_name(node), why, PARTITION, [value])
