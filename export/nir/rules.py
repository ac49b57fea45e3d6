"""Which operation of a captured program is which node of NIR; each rule says why where it is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.export.nir.arithmetic import add, div, mul, relu, scaled, sub, threshold
from neurokit.export.nir.graph import PARTITION, GraphBuilder, Rule, Value, op_name, shape_of, values_in
from neurokit.export.nir.pooling import adaptive, avg_pool, max_pool, reduce, select
from neurokit.export.nir.weights import batch_norm, cat, conv, linear
from neurokit.program.ops import Kind, operation

if TYPE_CHECKING:
    from torch.fx import Node


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
    return graph.refuse(node, op_name(node), why, PARTITION, [value])


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
    known = operation(node.target)
    values = [*values_in(args), *values_in(list(kwargs.values()))]
    name, kind = (None, None) if known is None else (known.name, known.kind)
    why = _WHY_NAMED.get(name, _WHY.get(kind, "NIR has no node for it"))
    if kind is Kind.PRODUCT and len(values) < 2:
        why = "NIR has no node that multiplies matrices by constants; it maps vectors (Affine)"
    return graph.refuse(node, op_name(node), why, _FIX.get(kind, PARTITION), values)


_LIMITS = (
    "it limits or rounds activations (as exact numerics do inside some networks), and NIR can state that of its input"
    " only"
)
_WHY: dict[Kind | None, str] = {
    Kind.PRODUCT: "it multiplies two activations (attention), and NIR multiplies by constants only",
    Kind.MOVE: "NIR has no node that moves elements",
    Kind.PAD: "NIR pads inside of convolutions and poolings only",
    Kind.ROUND: _LIMITS,
    Kind.LIMIT: _LIMITS,
    Kind.INTERPOLATE: "NIR has no node that interpolates",
    Kind.FUNCTION: "NIR has no node for a function of each element",
}
_WHY_NAMED: dict[str | None, str] = {
    **dict.fromkeys(("permute", "transpose", "movedim", "t"), "NIR has no node that reorders axes"),
    "layer_norm": "it normalises by the activations themselves, which NIR cannot",
    "softmax": "NIR has no softmax",
}
_FIX: dict[Kind | None, str] = dict.fromkeys(
    (Kind.ROUND, Kind.LIMIT),
    "fewer time steps or --bits may need no rounding inside; else --numerics float, or --option partition=true",
)
#: One rule a kind of operation, where NIR can express every operation of the kind.
_BY_KIND: dict[Kind, Rule] = {
    Kind.KEEP: _same,
    Kind.CAST: _same,
    Kind.SIZE: _ignore,
    Kind.ADD: add,
    Kind.DIVIDE: div,
    Kind.MULTIPLY: mul,
}
#: The others by name: NIR can express some of their kind.
_BY_NAME: dict[str, Rule] = {
    **dict.fromkeys(("expand", "expand_as", "repeat", "broadcast_to"), _repeat),
    "select": select,
    **dict.fromkeys(("conv1d", "conv2d"), conv),
    "linear": linear,
    "cat": cat,
    "batch_norm": batch_norm,
    **dict.fromkeys(("sub", "subtract"), sub),
    "neg": lambda graph, node, args, kwargs: scaled(graph, node, args[0], -1.0),
    "avg_pool2d": avg_pool,
    "adaptive_avg_pool2d": adaptive,
    "max_pool2d": max_pool,
    "mean": reduce("mean"),
    "sum": reduce("sum"),
    "gt": threshold(at=False),
    "ge": threshold(at=True),
    "relu": relu,
}


def rule_for(target: Any) -> Rule:
    """Returns the rule of an operation; `unknown` for one that NIR cannot express."""
    known = operation(target)
    if known is None:
        return unknown
    if known.reshapes and known.name not in _BY_NAME:
        return _reshape
    return _BY_NAME.get(known.name, unknown if known.name == "rsub" else _BY_KIND.get(known.kind, unknown))
