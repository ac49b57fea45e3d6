"""Operations that connect populations: convolutions, linear layers, pooling, sums and means over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.call import Call, each, first, give_up, sum_name
from neurokit.hw_sim.trace.values import Term, Value, numbered, scaled


def connected(
    call: Call,
    builder: Builder,
    value: Value,
    real: Tensor,
    build: Callable[..., Projection],
    affine: Callable[[Tensor | None], Tensor | None],
) -> Value:
    """Returns a pending connection from each population of `value`; `build(source=..., ...)` makes one.

    `affine` returns what the operation gives for the constant part of its input (None: zero).
    """
    value = _populations(call, builder, value, real)
    if not value.terms:
        return give_up(call, builder)
    for term in value.terms:
        if str(term.source) not in builder.rasters:  # spikes were recorded when they were fired
            builder.record(term, real)
    pending: list[Term] = []
    first = ""
    for term in builder.by_delay(value).terms:
        source, size, index = builder.view(term)
        name = call.path if not pending else f"{call.path} from {source}"
        name = builder.name(name, builder.projections)
        projection = build(
            name=name, source=source, target="", source_size=size, source_index=index, shares_weights_with=first
        )
        projection = replace(scaled(projection, term.gain), delay=term.delay)
        first = first or name
        static = term.static and term.ids.shape[0] == 1
        pending.append(
            Term(projection, numbered(tuple(call.result.shape), builder.steps), projection.target_size, static)
        )
    constant = affine(value.constant)
    return Value(tuple(pending), offset=constant is not None, constant=constant, known=value.known)


def _populations(call: Call, builder: Builder, value: Value, real: Tensor) -> Value:
    """Returns a value as populations: spikes as they are, and one sum of everything else.

    Spikes stay spikes where they lie beside currents (a recurrent layer reads its input and its own spikes joined),
    but not where they are added to them: then the sum is what is multiplied.
    """
    name = f"{call.path}.input" if value.unknown else sum_name(value, call.path)
    if not builder.connectable(value):
        return builder.materialise(value, real, name)
    fires = [isinstance(t.source, str) and builder.populations[t.source].binary for t in value.terms]
    if all(fires):
        return value
    rest = tuple(term for term, spikes in zip(value.terms, fires, strict=True) if not spikes)
    spikes = tuple(term for term, fire in zip(value.terms, fires, strict=True) if fire)
    shared = torch.stack([(term.ids >= 0).expand(real.shape) for term in spikes]).any(0) if spikes else None
    summed = torch.stack([(term.ids >= 0).expand(real.shape) for term in rest]).any(0)
    if shared is None or bool((shared & summed).any()):
        return builder.materialise(value, real, name)
    others = builder.materialise(replace(value, terms=rest), torch.where(summed, real, 0), f"{call.path}.input")
    for term in others.terms:
        builder.record(term, torch.where(summed, real, 0))
    return replace(others, terms=(*spikes, *others.terms))


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


def convolution(call: Call, builder: Builder) -> Any:
    """Handles convolutions."""
    value, real = call.values.get("input"), call.arguments["input"]
    weight, result = call.arguments["weight"], call.result
    if value is None or call.values.get("weight") is not None:
        return give_up(call, builder)
    if "transpose" in call.operation or call.get("transposed", default=False):
        return transposed(call, builder, value)
    axes = weight.dim() - 2
    stride, dilation = each(call.get("stride", default=1), axes), each(call.get("dilation", default=1), axes)
    padding = call.get("padding", default=0)
    if isinstance(padding, str):
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = [0] * axes if padding == "valid" else [n // 2 for n in total]
    shapes = tuple(real.shape[-axes - 1 :]), tuple(result.shape[-axes - 1 :])

    def build(**names: Any) -> Projection:
        return without_padding(
            Projection(
                kind="conv",
                source_shape=shapes[0],
                target_shape=shapes[1],
                kernel=tuple(weight.shape[2:]),
                stride=stride,
                padding=each(padding, axes),
                dilation=dilation,
                groups=call.get("groups", default=1),
                weight=weight.detach().numpy(),
                **names,
            )
        )

    return connected(call, builder, value, real, build, _bias(call, "input", axes))


def transposed(call: Call, builder: Builder, value: Value) -> Any:
    """Handles transposed convolutions: a convolution of what is spread out by the stride, its kernel turned around.

    Output `o` reads input `i` through tap `k` where `o = i * stride - padding + k * dilation`. The view holds the
    inputs at every `stride`-th place, moved by `dilation * (kernel - 1) - padding`, and no connection elsewhere.
    """
    real, weight, result = call.arguments["input"], call.arguments["weight"].detach(), call.result
    axes, groups = weight.dim() - 2, call.get("groups", default=1)
    kernel = tuple(weight.shape[2:])
    stride, padding, dilation = (
        each(call.get(name, default=default), axes)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    shapes = tuple(real.shape[-axes - 1 :]), tuple(result.shape[-axes - 1 :])
    per_group = weight.reshape(groups, shapes[0][0] // groups, *weight.shape[1:]).transpose(1, 2)
    turned = per_group.reshape(shapes[1][0], shapes[0][0] // groups, *kernel).flip(*range(2, axes + 2)).numpy()
    before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]

    def spread(index: NDArray[np.int64] | None) -> NDArray[np.int64]:
        grid = (np.arange(math.prod(shapes[0])) if index is None else index).reshape(shapes[0])
        view = np.full((shapes[0][0], *((n - 1) * s + 1 for n, s in zip(shapes[0][1:], stride, strict=True))), -1)
        view[(slice(None), *(slice(None, None, s) for s in stride))] = grid
        return view[(slice(None), *(slice(max(0, -b), None) for b in before))]  # a border wider than the kernel

    def build(source_index: NDArray[np.int64] | None = None, **names: Any) -> Projection:
        view = spread(source_index)
        return Projection(
            kind="conv",
            source_shape=view.shape,
            target_shape=shapes[1],
            kernel=kernel,
            stride=(1,) * axes,
            padding=tuple(max(0, b) for b in before),
            dilation=dilation,
            groups=groups,
            weight=turned,
            source_index=view.reshape(-1),
            upsampling=stride,
            **names,
        )

    return connected(call, builder, value, real, build, _bias(call, "input", axes))


def without_padding(projection: Projection) -> Projection:
    """Returns a convolution that reads its population as it is where it read it padded by zeros.

    Padding of its own says the same as an index map with holes all around, and everyone knows what it means.
    """
    index = projection.source_index
    if index is None:
        return projection
    grid = index.reshape(projection.source_shape)
    inside = np.nonzero(grid >= 0)
    if not len(inside[0]):
        return projection
    first, last = ([int(end(axis)) for axis in inside] for end in (np.min, np.max))
    core = grid[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))]
    whole = len(inside[0]) == core.size == projection.source_size and core.shape[0] == grid.shape[0]
    if not whole or not np.array_equal(core.reshape(-1), np.arange(core.size)):
        return projection
    padding = tuple(p + a for p, a in zip(projection.padding, first[1:], strict=True))
    return replace(projection, source_shape=core.shape, source_index=None, padding=padding)


def linear(call: Call, builder: Builder) -> Any:
    """Handles linear, addmm and products with a constant right operand."""
    name = next(n for n in ("input", "mat1", "self") if n in call.values)
    value, real = call.values[name], call.arguments[name]
    weight = call.get("weight")
    if weight is None:
        weight = call.get("mat2", "other").transpose(-1, -2)
    if weight.dim() != 2:
        return give_up(call, builder)
    outputs, inputs = weight.shape
    steps = real.shape[0] if real.shape[0] % builder.steps else builder.steps
    places = real.numel() // (inputs * steps)
    lead = (places,) if places > 1 else ()

    def build(**names: Any) -> Projection:
        return Projection(
            kind="linear",
            source_shape=(*lead, inputs),
            target_shape=(*lead, outputs),
            weight=weight.detach().numpy(),
            **names,
        )

    return connected(call, builder, value, real, build, _bias(call, name, 0))


_POOLINGS = {
    *(f"{adaptive}{kind}_pool{axes}d" for adaptive in ("", "adaptive_") for kind in ("avg", "max") for axes in (1, 2)),
    "max_pool2d_with_indices",
}


def pooling(call: Call, builder: Builder) -> Any:
    """Handles average and maximum pooling."""
    if call.operation.lstrip("_") not in _POOLINGS or not isinstance(call.values.get("self"), Value):
        return give_up(call, builder)
    value, real = call.values["self"], call.arguments["self"]
    result = call.result[0] if isinstance(call.result, tuple | list) else call.result
    axes = 1 if "1d" in call.operation else 2
    maximum = "max" in call.operation
    if "adaptive" in call.operation:
        sizes = real.shape[-axes:], result.shape[-axes:]
        if any(a % b for a, b in zip(*sizes, strict=True)):
            return give_up(call, builder, f"{call.operation} with windows of unequal size")
        kernel = tuple(a // b for a, b in zip(*sizes, strict=True))
        stride, padding = kernel, 0
    else:
        kernel = each(call.get("kernel_size"), axes)
        stride, padding = call.get("stride") or kernel, call.get("padding", default=0)
    shapes = tuple(real.shape[-axes - 1 :]), tuple(result.shape[-axes - 1 :])
    padded_out = max(each(padding, axes)) > 0 and not call.get("count_include_pad", default=True)
    gain = None if padded_out else 1.0 if maximum else 1.0 / (call.get("divisor_override") or math.prod(kernel))

    def again(constant: Tensor | None) -> Tensor | None:
        return None if constant is None else call.again({"self": constant})

    def build(**names: Any) -> Projection:
        return Projection(
            kind="maxpool" if maximum else "pool",
            source_shape=shapes[0],
            target_shape=shapes[1],
            kernel=kernel,
            stride=each(stride, axes),
            padding=each(padding, axes),
            dilation=each(call.get("dilation", default=1), axes),
            groups=shapes[0][0],
            gain=gain,
            **names,
        )

    pooled = replace(call, result=result)
    if not maximum:
        return connected(pooled, builder, value, real, build, again)
    if len(value.terms) != 1 or not value.pure:
        value = builder.materialise(value, real, sum_name(value, call.path))
    pending = connected(pooled, builder, replace(value, constant=None), real, build, again)
    if len(pending.terms) != 1:
        return first(call.result, pending if pending.unknown else give_up(call, builder, "maximum over several delays"))
    projection = pending.terms[0].source
    assert isinstance(projection, Projection)
    return first(call.result, builder.relay(value, result, projection, call.path))


def _read_out(value: Value, steps: int, result: Tensor) -> tuple[Term, ...]:
    """Returns the terms of an average over time: each element is what one place of its source gave in all steps."""
    terms = []
    for term in value.terms:
        positions = term.per_step(steps)
        if positions is None or len(positions) != result.numel():
            return ()
        terms.append(replace(term, ids=torch.from_numpy(positions).reshape(result.shape), static=False))
    return tuple(terms)


def reduction(call: Call, builder: Builder) -> Any:
    """Handles sums and means over some axes: over time they read out, over space they are pooling."""
    value, real = call.values["self"], call.arguments["self"]
    dims = call.get("dim")
    axes = sorted({d % real.dim() for d in ([dims] if isinstance(dims, int) else dims or range(real.dim()))})
    if 0 in axes and real.shape[0] == builder.steps:
        known = builder.materialise(value, real, sum_name(value, call.path))
        return Value(_read_out(known, builder.steps, call.result) if axes == [0] else (), once=True)
    if 0 in axes:  # over steps that a forward took by itself: no axis of the program is time
        builder.settled(value)
        return Value(unknown=True)
    if not value.pure:  # the sum itself is a population of the tensor's own shape
        value = builder.materialise(value, real, sum_name(value, call.path))
    if len(value.terms) == 1 and value.pure:
        builder.record(value.terms[0], real)
    kept = [axis for axis in range(1, real.dim()) if axis not in axes]
    groups = math.prod(real.shape[axis] for axis in kept)
    window = math.prod(real.shape[axis] for axis in axes)

    def rows(tensor: Tensor) -> Tensor:
        return tensor.permute(0, *kept, *axes).reshape(real.shape[0], groups, window)

    def build(**names: Any) -> Projection:
        return Projection(
            kind="pool",
            source_shape=(groups, window),
            target_shape=(groups, 1),
            kernel=(window,),
            stride=(window,),
            padding=(0,),
            dilation=(1,),
            groups=groups,
            gain=1.0 / window if call.operation == "mean" else 1.0,
            **names,
        )

    def again(constant: Tensor | None) -> Tensor | None:
        if constant is None:
            return None
        reduced = constant.mean(dim=2) if call.operation == "mean" else constant.sum(dim=2)
        return reduced.reshape(call.result.shape)

    return connected(call, builder, value.mapped(rows), rows(real), build, again)
