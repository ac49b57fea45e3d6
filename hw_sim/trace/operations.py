"""The operations of a captured program: which family each belongs to, and those that only move values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neurokit.hw_sim.graph.network import NeuronModel, Uncounted
from neurokit.hw_sim.trace import arithmetic, connect
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.call import Call, first, give_up
from neurokit.hw_sim.trace.values import Term, Value, sample_shape

# Operations that only move elements: the same operation is applied to the elements' numbers.
_MOVES = frozenset(
    {
        "view",
        "reshape",
        "_unsafe_view",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "t",
        "squeeze",
        "unsqueeze",
        "expand",
        "repeat",
        "slice",
        "select",
        "narrow",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
        "movedim",
        "roll",
        "flip",
        "index_select",
        "expand_as",
        "view_as",
        "tensor_split",
        "gather",
    }
)
# Operations that change nothing (in evaluation mode).
_KEEPS = frozenset(
    {
        "contiguous",
        "clone",
        "alias",
        "detach",
        "to",
        "_to_copy",
        "lift_fresh",
        "lift_fresh_copy",
        "dropout",
        "feature_dropout",
        "dropout1d",
        "dropout2d",
        "type_as",
        "identity",
        "float",
    }
)
# Operations that put an input on a grid, element by element: what comes out is the input that the network reads.
_ENCODES = frozenset({"round", "floor", "ceil", "clamp", "clamp_min", "clamp_max", "hardtanh"})
_LIMITS = ("clamp", "clamp_min", "clamp_max", "hardtanh", "hardtanh_", "relu", "relu_", "relu6")
_SCALES = ("mul", "mul_", "div")
_NORMS = frozenset(
    {
        "batch_norm",
        "_native_batch_norm_legit_no_training",
        "native_batch_norm",
        "cudnn_batch_norm",
        "_batch_norm_no_update",
    }
)


def apply(call: Call, builder: Builder) -> Any:
    """Returns the value (or the list of values) of a call, and adds to the network what it connects."""
    call = _limited(call, builder)
    given = [value for value in call.values.values() if isinstance(value, Value)]
    if call.operation in _KEEPS:
        return given[0]
    if call.operation in _MOVES:
        return _moved(call)
    if call.operation in ("pad", "constant_pad_nd"):
        return _padded(call, builder)
    if call.operation in ("cat", "stack", "concat", "concatenate"):
        return _joined(call, builder)
    if call.operation in _NORMS and given and not given[0].unknown:
        return first(call.result, given[0].normalised())
    if given and all(value.once for value in given):
        return _after_time(call, builder)
    if call.operation in _ENCODES and given and all(builder.is_input(value) for value in given):
        return builder.encode(call.path, call.result)
    handler = _HANDLERS.get(call.operation)
    if handler is None:
        return give_up(call, builder)
    return handler(call, builder)


def _limited(call: Call, builder: Builder) -> Call:
    """Returns the call with pending limits applied to what it reads, unless it can pass them on."""
    passed = {*_KEEPS, *_MOVES, *_LIMITS, "round"}
    if call.operation in passed or (call.operation in _SCALES and arithmetic.passes_limits(call)):
        return call

    def settled(value: Any, real: Any) -> Any:
        if isinstance(value, list):
            return [settled(*pair) for pair in zip(value, real, strict=True)]
        return builder.limited(value, real, call.path) if isinstance(value, Value) else value

    return replace(call, values={name: settled(value, call.arguments[name]) for name, value in call.values.items()})


def _moved(call: Call) -> Any:
    name, value = next((n, v) for n, v in call.values.items() if isinstance(v, Value))
    if not isinstance(call.result, tuple | list):
        return value.mapped(lambda ids: call.again({name: ids}))
    return [value.mapped(lambda ids, i=i: call.again({name: ids})[i]) for i in range(len(call.result))]


def _padded(call: Call, builder: Builder) -> Any:
    value = call.values.get("self", call.values.get("input"))
    if call.get("mode", default="constant") != "constant":
        return give_up(call, builder)
    pad, fill = list(call.get("pad")), call.get("value", default=0.0) or 0.0
    padded = value.mapped(lambda ids: torch.nn.functional.pad(ids, pad, value=-1))
    constant = value.constant
    if constant is None and fill == 0.0:
        return padded
    real = call.arguments["self" if "self" in call.values else "input"]
    constant = torch.zeros_like(real) if constant is None else constant
    return replace(padded, constant=torch.nn.functional.pad(constant, pad, value=fill), offset=True)


def _joined(call: Call, builder: Builder) -> Any:
    values, tensors = call.values["tensors"], call.arguments["tensors"]
    if any(isinstance(value, Value) and (value.unknown or value.once) for value in values):
        return give_up(call, builder)
    terms = []
    for place, value in enumerate(values):
        for term in value.terms if isinstance(value, Value) else ():
            parts = [torch.full(t.shape, -1, dtype=term.ids.dtype) for t in tensors]
            parts[place] = term.ids
            terms.append(replace(term, ids=call.again({"tensors": parts})))
    terms = _merged(terms)
    known = [value for value in values if isinstance(value, Value)]
    constant = None
    if len(known) < len(values) or any(value.constant is not None for value in known):
        constant = call.again({"tensors": [_constant(v, t) for v, t in zip(values, tensors, strict=True)]})
        constant = constant if bool(constant.any()) else None  # an empty delay line
    return Value(
        tuple(terms), offset=any(v.offset for v in known), constant=constant, known=all(v.known for v in known)
    )


def _merged(terms: list[Term]) -> list[Term]:
    """Returns terms of one source, each of which is elsewhere, as one (the steps of a loop that are stacked)."""
    kept: dict[tuple[Any, ...], Term] = {}
    apart: list[Term] = []
    for term in terms:
        key = (term.source if isinstance(term.source, str) else id(term.source), term.static, term.gain, term.delay)
        before = kept.setdefault(key, term)
        if before is term:
            continue
        if bool(((before.ids >= 0) & (term.ids >= 0)).any()):
            apart.append(term)
        else:
            kept[key] = replace(before, ids=torch.maximum(before.ids, term.ids))
    return [*kept.values(), *apart]


def _constant(value: Value | None, tensor: Tensor) -> Tensor:
    """Returns the constant part of a tensor, which is all of it where no value is in it."""
    if value is None:
        return tensor
    return torch.zeros_like(tensor) if value.constant is None else value.constant


def _after_time(call: Call, builder: Builder) -> Value:
    """Handles what is done to an average over time: a connection runs once, after the last step."""
    name, value = next((n, v) for n, v in call.values.items() if isinstance(v, Value))
    real = call.arguments[name]
    connect_it = _CONNECTS.get(call.operation)
    if connect_it is None:
        same = len(call.values) == 1 and isinstance(call.result, Tensor) and call.result.shape == real.shape
        return Value(value.terms if same else (), once=True)
    if len(call.values) == 1 and value.terms and real.shape[0] == 1:
        read = builder.gathered(f"{call.path}.input", value, real)
        found = connect_it(replace(call, values={name: read}), builder)
        if isinstance(found, Value) and not found.unknown:
            return Value(builder.settled(found).terms, once=True)
    weight = call.get("weight", "mat2", "other")
    operations = call.result.numel() * (weight.numel() // max(1, weight.shape[0]))
    reason = f"runs once, after the average over time, and not in each step: {operations} multiply-accumulates"
    builder.uncounted.append(Uncounted(f"{call.path} ({call.operation})", reason))
    return Value(once=True)


def neuron(call: Call, builder: Builder, path: str) -> list[Any]:
    """Adds the neurons of one neuron node and returns the values of its two results."""
    call = _limited(call, builder)
    value, current = call.values.get("x_seq"), call.arguments["x_seq"]
    spikes = call.result[0]
    if not isinstance(value, Value) or current.shape[0] != builder.steps:
        return [builder.not_understood(path, f"{call.operation} whose input has no time axis of its own"), None]
    tau = call.get("tau")
    if tau is None:
        decay = call.get("decay")
        tau = math.inf if decay is None else 1.0 / float(decay)
    reset = call.get("v_reset")
    model = NeuronModel(
        kind="if" if math.isinf(tau) else "lif",
        threshold=float(call.get("v_threshold")),
        tau=float(tau),
        reset=None if reset is None else float(reset),
        decay_input=bool(call.get("decay_input", default=False)),
    )
    name = builder.neurons(path, sample_shape(spikes), model, value, current)
    result = Value((builder.term(name, tuple(spikes.shape)),))
    builder.record(result.terms[0], spikes)
    return [result, None]


_CONNECTS: dict[str, Callable[[Call, Builder], Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), connect.convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), connect.convolution),
    **dict.fromkeys(("linear", "addmm"), connect.linear),
    **dict.fromkeys(("matmul", "mm", "bmm"), arithmetic.matrix_product),
}
_HANDLERS: dict[str, Callable[[Call, Builder], Any]] = {
    **_CONNECTS,
    **dict.fromkeys(
        ("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d"),
        connect.pooling,
    ),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d"), connect.pooling),
    **dict.fromkeys(("mean", "sum"), connect.reduction),
    **dict.fromkeys(("add", "add_", "sub", "rsub"), arithmetic.add),
    **dict.fromkeys(_SCALES, arithmetic.scale),
    **dict.fromkeys(_LIMITS, arithmetic.limit),
    "round": arithmetic.rounding,
}
