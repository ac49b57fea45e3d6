"""Sums, scales and comparisons as nodes and edges of NIR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from neurokit.export.nir.graph import PARTITION, GraphBuilder, Rule, Value, op_name, values_in
from neurokit.export.nir.weights import channelwise

if TYPE_CHECKING:
    from torch.fx import Node


def add(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A sum: edges from both terms, or a constant as a bias."""
    a, b = args[0], args[1]
    if kwargs.get("alpha", 1) != 1:
        b = scaled(graph, node, b, float(kwargs["alpha"])) if isinstance(b, Value) else b * kwargs["alpha"]
    if isinstance(a, Value) and isinstance(b, Value):
        if a.shape != b.shape or a.lead != b.lead:
            why = f"it adds {list(b.shape)} to {list(a.shape)}, and edges of NIR do not broadcast"
            return graph.refuse(node, op_name(node), why, PARTITION, [a, b])
        return graph.sum_of(a, b, node)
    value, constant = (a, b) if isinstance(a, Value) else (b, a)
    shift = _per_channel(constant, value)
    if shift is None:
        return graph.refuse(node, op_name(node), "it adds a constant that differs within a channel", PARTITION, [value])
    return channelwise(graph, node, value, np.ones(value.shape[0]), shift) if shift.any() else value


def sub(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A difference."""
    alpha = kwargs.get("alpha", 1)
    if isinstance(args[0], Value):
        return add(graph, node, args, {"alpha": -alpha})
    return add(graph, node, (scaled(graph, node, args[1], -float(alpha)), args[0]), {})


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


def mul(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A product with a constant."""
    a, b = args[0], args[1]
    if isinstance(a, Value) and isinstance(b, Value):
        why = "it multiplies two activations (a gate or attention), and NIR multiplies by constants only"
        return graph.refuse(node, op_name(node), why, PARTITION, [a, b])
    value, constant = (a, b) if isinstance(a, Value) else (b, a)
    if value.summed:
        return replace(value, summed=False)
    return scaled(graph, node, value, constant)


def div(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A quotient by a constant."""
    if isinstance(args[1], Value):
        return graph.refuse(node, op_name(node), "it divides by an activation", PARTITION, values_in(args))
    if args[0].summed:
        return replace(args[0], summed=False)
    return scaled(graph, node, args[0], 1.0 / args[1])


def scaled(graph: GraphBuilder, node: Node, value: Value, constant: Any) -> Value:
    """Returns value times a constant of one number, or one an element."""
    array = np.asarray(constant.detach().numpy() if isinstance(constant, Tensor) else constant, dtype=np.float32)
    while array.ndim > len(value.shape) and array.shape[0] == 1:
        array = array[0]
    try:
        full = np.broadcast_to(array, value.shape)
    except ValueError:
        return graph.refuse(
            node, op_name(node), "it scales by numbers that differ by step or sample", PARTITION, [value]
        )
    return value if (full == 1).all() else graph.add("Scale", {"scale": full.copy()}, value, node, value.shape)


def threshold(at: bool) -> Rule:
    """Returns the rule of a comparison: at least the limit (`at`), or above it."""

    def rule(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
        from neurokit.neurons.cells import fires_above

        value, limit = args[0], args[1]
        if not isinstance(value, Value) or isinstance(limit, Value):
            return graph.refuse(node, op_name(node), "it compares two activations", PARTITION, values_in(args))
        array = np.asarray(limit.detach().numpy() if isinstance(limit, Tensor) else limit, dtype=np.float32)
        full = np.broadcast_to(fires_above(array) if at else array, value.shape).copy()
        return graph.add("Threshold", {"threshold": full}, value, node, value.shape, spikes=True)

    return rule


def relu(graph: GraphBuilder, node: Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
    """A ReLU of spikes changes nothing; NIR has none."""
    if args[0].spikes:
        return args[0]
    return graph.refuse(node, op_name(node), "NIR has no ReLU", "put a spiking neuron in its place", [args[0]])
