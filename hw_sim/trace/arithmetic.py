"""Operations on values: sums, scales, limits and roundings, and products of two activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neurokit.hw_sim.graph.network import Population, Product
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.call import Call, give_up, sum_name
from neurokit.hw_sim.trace.connect import linear
from neurokit.hw_sim.trace.values import Term, Value, sample_shape
from neurokit.program.ops import Kind


def add(call: Call, builder: Builder) -> Any:
    """Handles addition and subtraction: of two values a sum of both, with a constant an offset."""
    given = [value for value in (call.values.get("self"), call.values.get("other")) if isinstance(value, Value)]
    if any(value.unknown or value.once for value in given):
        return give_up(call, builder)
    shape, alpha = call.result.shape, float(call.get("alpha", default=1))
    signs = {"self": 1.0, "other": alpha if call.operation == "add" else -alpha}
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


def scale(call: Call, builder: Builder) -> Any:
    """Handles multiplication and division: by a constant a scale, of two values an elementwise product."""
    left, right = call.values.get("self"), call.values.get("other")
    given = [value for value in (left, right) if isinstance(value, Value)]
    if any(value.unknown or value.once for value in given):
        return give_up(call, builder)
    shape = call.result.shape
    divides = call.kind is Kind.DIVIDE
    if divides and call.get("rounding_mode"):
        return give_up(call, builder)
    if len(given) == 1 and not (divides and isinstance(right, Value)):
        factor = torch.as_tensor(call.arguments["self" if left is None else "other"])
        factor = 1 / factor if divides else factor
        spread = given[0].mapped(lambda ids: ids.expand(shape))
        constant = None if spread.constant is None else spread.constant * factor
        return spread.times(float(factor) if factor.numel() == 1 else None, constant)
    if divides:
        return give_up(call, builder)
    tensors = [call.arguments[name].expand(shape) for name in ("self", "other")]
    both = [value.mapped(lambda ids: ids.expand(shape)) for value in given]
    return _product(call, builder, both, tensors, (call.result.numel() // builder.steps, 1, 1, 1))


def negate(call: Call, builder: Builder) -> Any:
    """Handles the negative of a value."""
    value = _only(call)
    if value is None or value.unknown or value.once or not call.operation.startswith("neg"):
        return give_up(call, builder)
    return value.times(-1.0, None if value.constant is None else -value.constant)


def matrix_product(call: Call, builder: Builder) -> Any:
    """Handles matrix products, of two values or with a constant."""
    names = ("self", "mat2") if "mat2" in call.arguments else ("self", "other")
    if call.operation not in ("matmul", "mm", "bmm"):
        return give_up(call, builder)
    left, right = (call.values.get(name) for name in names)
    if not isinstance(right, Value):
        return linear(call, builder)
    if not isinstance(left, Value):
        return give_up(call, builder, f"{call.operation} with a constant left operand")
    a, b = (call.arguments[name] for name in names)
    if min(a.dim(), b.dim()) < 3:
        return give_up(call, builder, f"{call.operation} across time steps")
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
        if len(value.terms) == 1 and _adds(value):  # what is read is not what the one source, counted already, sends
            operand = builder.fresh(replace(value, unknown=True), real, name)
        else:  # a sum has the constant for its bias
            operand = builder.materialise(value, real, sum_name(value, name))
        if len(operand.terms) != 1:
            return give_up(call, builder)
        if operand.terms[0].per_step(builder.steps) is None:  # late, and a product takes what is there
            operand = builder.fresh(operand, real, name)
        builder.record(operand.terms[0], real)
        operands.append(builder.view(operand.terms[0]))
    name = builder.name(call.path, builder.populations)
    shape = sample_shape(call.result, builder.steps)
    binary = sizes[1:] == (1, 1, 1) and all(builder.populations[source].binary for source, _, _ in operands)
    builder.populations[name] = Population(name, shape, "product", binary=binary)
    (left, _, left_index), (right, _, right_index) = operands
    builder.products.append(Product(name, left, right, name, *sizes, left_index, right_index))
    result = Value((builder.term(name, tuple(call.result.shape)),))
    builder.record(result.terms[0], call.result)
    return result


def _adds(value: Value) -> bool:
    """Returns whether a value of one term holds constants, added to its source's values or beside them."""
    beside = value.terms[0].ids
    fresh = getattr(beside, "_fresh", False)
    return value.offset or value.constant is not None or not (fresh or bool((beside >= 0).all()))


def limit(call: Call, builder: Builder) -> Any:
    """Handles limits: they wait for the rounding that usually follows, or are applied where the value is read."""
    value = _only(call)
    if call.operation.startswith("hardtanh"):
        low, high = call.get("min_val", default=-1.0), call.get("max_val", default=1.0)
    elif call.operation.startswith("relu"):
        low, high = 0.0, 6.0 if call.operation == "relu6" else None
    else:
        low = call.get("min") if call.operation != "clamp_max" else None
        high = call.get("max") if call.operation != "clamp_min" else None
    if value is None or not builder.connectable(value) or any(isinstance(end, Tensor) for end in (low, high)):
        return give_up(call, builder)
    return value.limited(*(None if end is None else float(end) for end in (low, high)))


def rounding(call: Call, builder: Builder) -> Any:
    """Handles rounding to whole numbers: a population of its own, with what limits were waiting."""
    value = _only(call)
    if value is None or value.unknown or call.get("decimals"):
        return give_up(call, builder)
    return builder.rounded(value, call.result, call.path)


def passes_limits(call: Call) -> bool:
    """Returns whether a multiplication is one by a positive number, which limits can be scaled by."""
    factors = [call.arguments[name] for name in ("self", "other") if name not in call.values]
    positive = len(factors) == 1 and torch.as_tensor(factors[0]).numel() == 1 and float(factors[0]) > 0
    return positive and not (call.kind is Kind.DIVIDE and "other" in call.values)


def _only(call: Call) -> Value | None:
    given = list(call.values.values())
    return given[0] if len(given) == 1 and isinstance(given[0], Value) else None
