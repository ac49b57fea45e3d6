"""The operations of a captured program: which family each belongs to, and those that only move values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokit.hw_sim.graph.network import NeuronModel, Uncounted
from neurokit.hw_sim.trace import arithmetic, connect
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.call import Call, first, give_up
from neurokit.hw_sim.trace.values import Term, Value, sample_shape
from neurokit.neurons.parameters import NeuronParameters
from neurokit.program.ops import Kind, kind_of

Handler = Callable[[Call, Builder], Any]

# Operations that put an input on a grid, element by element: what comes out is the input that the network reads.
_ENCODES = frozenset({"round", "floor", "ceil", "clamp", "clamp_min", "clamp_max", "hardtanh"})


def apply(call: Call, builder: Builder) -> Any:
    """Returns the value (or the list of values) of a call, and adds to the network what it connects."""
    call = _limited(call, builder)
    given = [value for value in call.values.values() if isinstance(value, Value)]
    handler = None if call.kind is None else _BEFORE_TIME.get(call.kind)
    if handler is not None:
        return handler(call, builder)
    if given and all(value.once for value in given):
        return _after_time(call, builder)
    if call.operation in _ENCODES and given and all(builder.is_input(value) for value in given):
        return builder.encode(call.path, call.result)
    handler = None if call.kind is None else _HANDLERS.get(call.kind)
    return give_up(call, builder) if handler is None else handler(call, builder)


def _limited(call: Call, builder: Builder) -> Call:
    """Returns the call with pending limits applied to what it reads, unless it can pass them on."""
    scales = call.kind in (Kind.MULTIPLY, Kind.DIVIDE)
    if call.kind in _PASSING_LIMITS or (scales and arithmetic.passes_limits(call)):
        return call

    def settled(value: Any, real: Any) -> Any:
        if isinstance(value, list):
            return [settled(*pair) for pair in zip(value, real, strict=True)]
        return builder.limited(value, real, call.path) if isinstance(value, Value) else value

    return replace(call, values={name: settled(value, call.arguments[name]) for name, value in call.values.items()})


def _kept(call: Call, builder: Builder) -> Any:
    return first(call.result, next(iter(call.values.values())))


def _cast(call: Call, builder: Builder) -> Any:
    """A change of element type: to whole numbers it may drop what is behind the point."""
    if not call.result.is_floating_point() and call.arguments["self"].is_floating_point():
        return give_up(call, builder)
    return _kept(call, builder)


def _moved(call: Call, builder: Builder) -> Any:
    name = next(name for name, given in call.arguments.items() if isinstance(given, Tensor))
    value = call.values.get(name)
    if not isinstance(value, Value):  # the places are what depends on the input
        return give_up(call, builder)

    def moved(ids: Tensor, part: int | None = None) -> Tensor:
        # Float64 holds every number of an element; nearest neighbours are for floating-point tensors alone.
        made = call.again({name: ids.double() if call.floats and not ids.is_floating_point() else ids})
        return (made if part is None else made[part]).to(ids.dtype)

    if not isinstance(call.result, tuple | list):
        return value.mapped(moved)
    return [value.mapped(partial(moved, part=part)) for part in range(len(call.result))]


def _normalised(call: Call, builder: Builder) -> Any:
    value = next(iter(call.values.values()))
    return give_up(call, builder) if value.unknown else first(call.result, value.normalised())


def _padded(call: Call, builder: Builder) -> Any:
    value = next(iter(call.values.values()))
    if call.operation not in ("pad", "constant_pad_nd") or call.get("mode", default="constant") != "constant":
        return _moved(replace(call, floats=True), builder)  # by elements of the tensor
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
    connect_it = None if call.kind is None else _CONNECTS.get(call.kind)
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
    model = _model(NeuronParameters.from_names(call.operation, call.arguments))
    name = builder.neurons(
        path, sample_shape(spikes, builder.steps), model, value, current, start=_start(call.get("v0"), model)
    )
    result = Value((builder.term(name, tuple(spikes.shape)),))
    builder.record(result.terms[0], spikes)
    return [result, None]


def _model(given: NeuronParameters) -> NeuronModel:
    """Returns what a chip is told of a neuron; of numbers that differ by neuron the first, as the price is the same."""

    def one(number: Any) -> float:
        return float(np.reshape(number, -1)[0])

    return NeuronModel(
        kind="if" if given.op == "if_" else "lif",
        threshold=one(given.v_threshold),
        tau=one(given.tau),
        reset=one(given.rest) if given.hard else None,
        decay_input=given.op != "if_" and given.decay_input,
        described=given.scalar and given.v_subtract is None,  # the engine subtracts thresholds alone
    )


def _start(v0: Tensor | None, model: NeuronModel) -> NDArray[np.float64] | None:
    """Returns the membranes before the first step where they are not at rest."""
    if v0 is None or bool((v0 == (model.reset or 0.0)).all()):
        return None
    return v0.detach().double().numpy().reshape(-1)


_CONNECTS: dict[Kind, Handler] = {
    Kind.CONVOLVE: connect.convolution,
    Kind.LINEAR: connect.linear,
    Kind.PRODUCT: arithmetic.matrix_product,
}
#: What is the same for a value without a time axis.
_BEFORE_TIME: dict[Kind, Handler] = {
    Kind.KEEP: _kept,
    Kind.CAST: _cast,
    Kind.MOVE: _moved,
    Kind.PAD: _padded,
    Kind.JOIN: _joined,
    Kind.NORMALISE: _normalised,
}
#: One handler a kind of operation; what has none is listed as not counted.
_HANDLERS: dict[Kind, Handler] = {
    **_CONNECTS,
    Kind.POOL: connect.pooling,
    Kind.MAXIMUM: connect.pooling,
    Kind.SUM: connect.reduction,
    Kind.ADD: arithmetic.add,
    Kind.SIGN: arithmetic.negate,
    Kind.MULTIPLY: arithmetic.scale,
    Kind.DIVIDE: arithmetic.scale,
    Kind.LIMIT: arithmetic.limit,
    Kind.ROUND: arithmetic.rounding,
}
_PASSING_LIMITS = {Kind.KEEP, Kind.CAST, Kind.MOVE, Kind.LIMIT, Kind.ROUND}


def counted(target: Any) -> bool:
    """Returns whether what an operation connects can be counted, where its arguments allow."""
    return kind_of(target) in {*_BEFORE_TIME, *_HANDLERS, Kind.NEURON}
