"""The operations of a captured program that connect, pool, multiply or move values, one function a family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from neurokit.hw_sim.network import NeuronModel, Population, Product, Uncounted
from neurokit.hw_sim.projection import Projection
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.values import Term, Value, numbered, sample_shape, scaled

# Operations that only move elements: the same operation is applied to the elements' numbers.
_MOVES = frozenset(
    {
        "view", "reshape", "_unsafe_view", "flatten", "unflatten", "permute", "transpose", "t", "squeeze",
        "unsqueeze", "expand", "repeat", "slice", "select", "narrow", "chunk", "split", "split_with_sizes", "unbind",
        "movedim", "roll", "flip", "index_select", "expand_as", "view_as", "tensor_split",
    }
)  # fmt: skip
# Operations that change nothing (in evaluation mode).
_KEEPS = frozenset(
    {
        "contiguous", "clone", "alias", "detach", "to", "_to_copy", "lift_fresh", "lift_fresh_copy", "dropout",
        "feature_dropout", "dropout1d", "dropout2d", "type_as", "identity", "float",
    }
)  # fmt: skip
# Operations that put an input on a grid, element by element: what comes out is the input that the network reads.
_ENCODES = frozenset({"round", "floor", "ceil", "clamp", "clamp_min", "clamp_max", "hardtanh"})
_NORMS = frozenset(
    {
        "batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm",
        "_batch_norm_no_update",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One call of an operation: its arguments as tensors and as values, and what it returned.

    Attributes:
        operation: Name without overload, "conv2d".
        path: Module path where it is called.
        arguments: By name, as the schema says; tensors and numbers.
        values: By name, those arguments that depend on the input (a list for a list of tensors).
        result: What it returned.
        again: Calls the operation with other tensors in place of the values: `again({name: tensor})`.
    """

    operation: str
    path: str
    arguments: dict[str, Any]
    values: dict[str, Any]
    result: Any
    again: Callable[[dict[str, Any]], Any]

    def get(self, *names: str, default: Any = None) -> Any:
        """Returns the first of the named arguments that the operation has."""
        return next((self.arguments[name] for name in names if name in self.arguments), default)


def apply(call: Call, builder: Builder) -> Any:
    """Returns the value (or the list of values) of a call, and adds to the network what it connects."""
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
        return _first(call.result, given[0].normalised())
    if given and all(value.once for value in given):
        return _after_time(call, builder)
    if call.operation in _ENCODES and given and all(builder.is_input(value) for value in given):
        return builder.encode(call.path, call.result)
    handler = _HANDLERS.get(call.operation)
    if handler is None:
        return _give_up(call, builder)
    return handler(call, builder)


def _give_up(call: Call, builder: Builder, operation: str = "") -> Value:
    """Lists a call as not counted; the connections that led to it are counted all the same."""
    for value in call.values.values():
        for given in value if isinstance(value, list) else [value]:
            for term in given.terms if isinstance(given, Value) else ():
                if isinstance(term.source, Projection):
                    builder.settle(term.source, term.source.name)
    return builder.not_understood(call.path, operation or call.operation)


def _first(result: Any, value: Value) -> Any:
    return [value, None, None] if isinstance(result, tuple | list) else value


def _moved(call: Call) -> Any:
    name, value = next((n, v) for n, v in call.values.items() if isinstance(v, Value))
    if not isinstance(call.result, tuple | list):
        return value.mapped(lambda ids: call.again({name: ids}))
    return [value.mapped(lambda ids, i=i: call.again({name: ids})[i]) for i in range(len(call.result))]


def _padded(call: Call, builder: Builder) -> Any:
    value = call.values.get("self", call.values.get("input"))
    if call.get("mode", default="constant") != "constant":
        return _give_up(call, builder)
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
        return _give_up(call, builder)
    terms = []
    for place, value in enumerate(values):
        for term in value.terms if isinstance(value, Value) else ():
            parts = [torch.full(t.shape, -1, dtype=term.ids.dtype) for t in tensors]
            parts[place] = term.ids
            terms.append(replace(term, ids=call.again({"tensors": parts})))
    known = [value for value in values if isinstance(value, Value)]
    constant = None
    if len(known) < len(values) or any(value.constant is not None for value in known):
        constant = call.again({"tensors": [_constant(v, t) for v, t in zip(values, tensors, strict=True)]})
    return Value(
        tuple(terms), offset=any(v.offset for v in known), constant=constant, known=all(v.known for v in known)
    )


def _constant(value: Value | None, tensor: Tensor) -> Tensor:
    """Returns the constant part of a tensor, which is all of it where no value is in it."""
    if value is None:
        return tensor
    return torch.zeros_like(tensor) if value.constant is None else value.constant


def _after_time(call: Call, builder: Builder) -> Value:
    if call.operation in _CONNECTS:
        weight = call.get("weight", "mat2", "other")
        operations = call.result.numel() * (weight.numel() // max(1, weight.shape[0]))
        reason = f"runs once, after the average over time, and not in each step: {operations} multiply-accumulates"
        builder.uncounted.append(Uncounted(f"{call.path} ({call.operation})", reason))
    return Value(once=True)


def _connected(
    call: Call, builder: Builder, value: Value, real: Tensor, build: Callable[..., Projection],
    affine: Callable[[Tensor | None], Tensor | None],
) -> Value:  # fmt: skip
    """Returns a pending connection from each population of `value`; `build(source=..., ...)` makes one.

    `affine` returns what the operation gives for the constant part of its input (None: zero).
    """
    only_spikes = value.pure and all(builder.populations[str(term.source)].binary for term in value.terms)
    if not (only_spikes and builder.connectable(value)):
        value = builder.materialise(value, real, f"{call.path}.input" if value.unknown else _sum_name(value, call.path))
    if not value.terms:
        return _give_up(call, builder)
    pending: list[Term] = []
    first = ""
    for term in value.terms:
        if len(value.terms) == 1:  # of several, each is a population of spikes that was recorded when it fired
            builder.record(term, real)
        source, size, index = builder.view(term)
        name = call.path if not pending else f"{call.path} from {source}"
        name = builder.name(name, builder.projections)
        projection = build(
            name=name, source=source, target="", source_size=size, source_index=index, shares_weights_with=first
        )
        projection = scaled(projection, term.gain)
        first = first or name
        static = term.static and term.ids.shape[0] == 1
        pending.append(
            Term(projection, numbered(tuple(call.result.shape), builder.steps), projection.target_size, static)
        )
    constant = affine(value.constant)
    return Value(tuple(pending), offset=constant is not None, constant=constant, known=value.known)


def _bias(call: Call, name: str, axes: int) -> Callable[[Tensor | None], Tensor | None]:
    """Returns the constant part of a convolution or linear layer: its bias, and what it makes of a constant input."""

    def affine(constant: Tensor | None) -> Tensor | None:
        if constant is not None:
            return call.again({name: constant})
        bias = call.get("bias")
        if bias is None and call.operation == "addmm":
            bias = call.get("self")
        return None if bias is None else bias.reshape(-1, *(1,) * axes).expand(call.result.shape)

    return affine


def _sum_name(value: Value, path: str) -> str:
    if len(value.terms) == 1 and isinstance(value.terms[0].source, Projection):
        return value.terms[0].source.name
    return f"{path}.input"


def _convolution(call: Call, builder: Builder) -> Any:
    value, real = call.values.get("input"), call.arguments["input"]
    weight, result = call.arguments["weight"], call.result
    if value is None or call.values.get("weight") is not None or call.get("transposed", default=False):
        return _give_up(call, builder)
    axes = weight.dim() - 2
    stride, dilation = _each(call.get("stride", default=1), axes), _each(call.get("dilation", default=1), axes)
    padding = call.get("padding", default=0)
    if isinstance(padding, str):
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = [0] * axes if padding == "valid" else [n // 2 for n in total]
    shapes = tuple(real.shape[-axes - 1 :]), tuple(result.shape[-axes - 1 :])

    def build(**names: Any) -> Projection:
        return Projection(
            kind="conv", source_shape=shapes[0], target_shape=shapes[1], kernel=tuple(weight.shape[2:]), stride=stride,
            padding=_each(padding, axes), dilation=dilation, groups=call.get("groups", default=1),
            weight=weight.detach().numpy(), **names,
        )  # fmt: skip

    return _connected(call, builder, value, real, build, _bias(call, "input", axes))


def _linear(call: Call, builder: Builder) -> Any:
    """Handles linear, addmm and products with a constant right operand."""
    name = next(n for n in ("input", "mat1", "self") if n in call.values)
    value, real = call.values[name], call.arguments[name]
    weight = call.get("weight")
    if weight is None:
        weight = call.get("mat2", "other").transpose(-1, -2)
    if weight.dim() != 2:
        return _give_up(call, builder)
    outputs, inputs = weight.shape
    places = real.numel() // (inputs * real.shape[0])
    lead = (places,) if places > 1 else ()

    def build(**names: Any) -> Projection:
        return Projection(
            kind="linear", source_shape=(*lead, inputs), target_shape=(*lead, outputs),
            weight=weight.detach().numpy(), **names,
        )  # fmt: skip

    return _connected(call, builder, value, real, build, _bias(call, name, 0))


def _pooling(call: Call, builder: Builder) -> Any:
    value, real = call.values["self"], call.arguments["self"]
    result = call.result[0] if isinstance(call.result, tuple | list) else call.result
    axes = 1 if "1d" in call.operation else 2
    maximum = call.operation.startswith("max")
    if "adaptive" in call.operation:
        sizes = real.shape[-axes:], result.shape[-axes:]
        if any(a % b for a, b in zip(*sizes, strict=True)):
            return _give_up(call, builder, f"{call.operation} with windows of unequal size")
        kernel = tuple(a // b for a, b in zip(*sizes, strict=True))
        stride, padding = kernel, 0
    else:
        kernel = _each(call.get("kernel_size"), axes)
        stride, padding = call.get("stride") or kernel, call.get("padding", default=0)
    shapes = tuple(real.shape[-axes - 1 :]), tuple(result.shape[-axes - 1 :])
    padded_out = max(_each(padding, axes)) > 0 and not call.get("count_include_pad", default=True)
    gain = None if padded_out else 1.0 if maximum else 1.0 / (call.get("divisor_override") or math.prod(kernel))

    def again(constant: Tensor | None) -> Tensor | None:
        return None if constant is None else call.again({"self": constant})

    def build(**names: Any) -> Projection:
        return Projection(
            kind="maxpool" if maximum else "pool", source_shape=shapes[0], target_shape=shapes[1], kernel=kernel,
            stride=_each(stride, axes), padding=_each(padding, axes),
            dilation=_each(call.get("dilation", default=1), axes), groups=shapes[0][0], gain=gain, **names,
        )  # fmt: skip

    pooled = replace(call, result=result)
    if not maximum:
        return _connected(pooled, builder, value, real, build, again)
    if len(value.terms) != 1 or not value.pure:
        value = builder.materialise(value, real, _sum_name(value, call.path))
    pending = _connected(pooled, builder, replace(value, constant=None), real, build, again)
    if pending.unknown:
        return _first(call.result, pending)
    projection = pending.terms[0].source
    assert isinstance(projection, Projection)
    return _first(call.result, builder.relay(value, result, projection, call.path))


def _reduction(call: Call, builder: Builder) -> Any:
    """Handles sums and means over some axes: over time they read out, over space they are pooling."""
    value, real = call.values["self"], call.arguments["self"]
    dims = call.get("dim")
    axes = sorted({d % real.dim() for d in ([dims] if isinstance(dims, int) else dims or range(real.dim()))})
    if 0 in axes and real.shape[0] == builder.steps:
        known = builder.materialise(value, real, _sum_name(value, call.path))
        return replace(known, once=True)
    if not value.pure:  # the sum itself is a population of the tensor's own shape
        value = builder.materialise(value, real, _sum_name(value, call.path))
    kept = [axis for axis in range(1, real.dim()) if axis not in axes]
    groups = math.prod(real.shape[axis] for axis in kept)
    window = math.prod(real.shape[axis] for axis in axes)

    def rows(tensor: Tensor) -> Tensor:
        return tensor.permute(0, *kept, *axes).reshape(real.shape[0], groups, window)

    def build(**names: Any) -> Projection:
        return Projection(
            kind="pool", source_shape=(groups, window), target_shape=(groups, 1), kernel=(window,), stride=(window,),
            padding=(0,), dilation=(1,), groups=groups, gain=1.0 / window if call.operation == "mean" else 1.0, **names,
        )  # fmt: skip

    def again(constant: Tensor | None) -> Tensor | None:
        if constant is None:
            return None
        reduced = constant.mean(dim=2) if call.operation == "mean" else constant.sum(dim=2)
        return reduced.reshape(call.result.shape)

    return _connected(call, builder, value.mapped(rows), rows(real), build, again)


def _sum(call: Call, builder: Builder) -> Any:
    """Handles addition and subtraction: of two values a sum of both, with a constant an offset."""
    given = [value for value in (call.values.get("self"), call.values.get("other")) if isinstance(value, Value)]
    if any(value.unknown or value.once for value in given):
        return _give_up(call, builder)
    shape, alpha = call.result.shape, float(call.get("alpha", default=1))
    signs = {"self": 1.0, "other": -alpha if call.operation == "sub" else alpha}
    if call.operation == "rsub":
        signs = {"self": -alpha, "other": 1.0}
    terms: list[Term] = []
    constants: list[Tensor] = []
    for name, sign in signs.items():
        value, real = call.values.get(name), call.arguments[name]
        if isinstance(value, Value):
            terms += [term.scaled(sign) for term in value.mapped(lambda ids: ids.expand(shape)).terms]
            constants += [] if value.constant is None else [value.constant * sign]
        else:
            constants.append(torch.as_tensor(real) * sign)
    constant = sum(constants[1:], constants[0]).expand(shape) if constants else None
    offset = len(given) == 1 or any(value.offset for value in given)
    return Value(tuple(terms), offset=offset, constant=constant, known=all(value.known for value in given))


def _scale(call: Call, builder: Builder) -> Any:
    """Handles multiplication and division: by a constant a scale, of two values an elementwise product."""
    left, right = call.values.get("self"), call.values.get("other")
    given = [value for value in (left, right) if isinstance(value, Value)]
    if any(value.unknown or value.once for value in given):
        return _give_up(call, builder)
    shape = call.result.shape
    if len(given) == 1 and not (call.operation == "div" and isinstance(right, Value)):
        factor = torch.as_tensor(call.arguments["self" if left is None else "other"])
        factor = 1 / factor if call.operation == "div" else factor
        spread = given[0].mapped(lambda ids: ids.expand(shape))
        constant = None if spread.constant is None else spread.constant * factor
        return spread.times(float(factor) if factor.numel() == 1 else None, constant)
    if call.operation == "div":
        return _give_up(call, builder)
    tensors = [call.arguments[name].expand(shape) for name in ("self", "other")]
    spread = [value.mapped(lambda ids: ids.expand(shape)) for value in given]
    return _product(call, builder, spread, tensors, (call.result.numel() // builder.steps, 1, 1, 1))


def _matrix_product(call: Call, builder: Builder) -> Any:
    names = ("self", "mat2") if "mat2" in call.arguments else ("self", "other")
    left, right = (call.values.get(name) for name in names)
    if not isinstance(right, Value):
        return _linear(call, builder)
    if not isinstance(left, Value):
        return _give_up(call, builder, f"{call.operation} with a constant left operand")
    a, b = (call.arguments[name] for name in names)
    if min(a.dim(), b.dim()) < 3:
        return _give_up(call, builder, f"{call.operation} across time steps")
    lead = call.result.shape[:-2]
    tensors = [t.expand(*lead, *t.shape[-2:]) for t in (a, b)]
    spread = [v.mapped(lambda ids: ids.expand(*lead, *ids.shape[-2:])) for v in (left, right)]
    sizes = (math.prod(lead) // builder.steps, a.shape[-2], a.shape[-1], b.shape[-1])
    return _product(call, builder, spread, tensors, sizes)


def _product(
    call: Call, builder: Builder, values: Sequence[Value], tensors: Sequence[Tensor], sizes: tuple[int, int, int, int]
) -> Value:
    """Adds an activation times activation product and returns its result."""
    operands = []
    for value, real in zip(values, tensors, strict=True):
        name = f"{call.path}.operand"
        operand = builder.fresh(Value(unknown=True), real, name) if value.offset else (
            builder.materialise(value, real, _sum_name(value, name))
        )  # fmt: skip
        if value.offset:
            builder.not_understood(call.path, "operand with an added constant")
        if len(operand.terms) != 1:
            return _give_up(call, builder)
        builder.record(operand.terms[0], real)
        operands.append(builder.view(operand.terms[0]))
    name = builder.name(call.path, builder.populations)
    shape = sample_shape(call.result)
    binary = sizes[1:] == (1, 1, 1) and all(builder.populations[source].binary for source, _, _ in operands)
    builder.populations[name] = Population(name, shape, "product", binary=binary)
    (left, _, left_index), (right, _, right_index) = operands
    builder.products.append(Product(name, left, right, name, *sizes, left_index, right_index))
    result = Value((builder.term(name, tuple(call.result.shape)),))
    builder.record(result.terms[0], call.result)
    return result


def neuron(call: Call, builder: Builder, path: str) -> list[Any]:
    """Adds the neurons of one neuron node and returns the values of its two results."""
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
        kind="if" if math.isinf(tau) else "lif", threshold=float(call.get("v_threshold")), tau=float(tau),
        reset=None if reset is None else float(reset), decay_input=bool(call.get("decay_input", default=False)),
    )  # fmt: skip
    name = builder.neurons(path, sample_shape(spikes), model, value, current)
    result = Value((builder.term(name, tuple(spikes.shape)),))
    builder.record(result.terms[0], spikes)
    return [result, None]


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * axes if len(values) == 1 else values))


_CONNECTS: dict[str, Callable[[Call, Builder], Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("linear", "addmm"), _linear),
    **dict.fromkeys(("matmul", "mm", "bmm"), _matrix_product),
}
_HANDLERS: dict[str, Callable[[Call, Builder], Any]] = {
    **_CONNECTS,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
                     "_adaptive_avg_pool2d"), _pooling),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d"), _pooling),
    **dict.fromkeys(("mean", "sum"), _reduction),
    **dict.fromkeys(("add", "add_", "sub", "rsub"), _sum),
    **dict.fromkeys(("mul", "mul_", "div"), _scale),
}  # fmt: skip
