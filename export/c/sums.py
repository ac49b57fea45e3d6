"""Rules of sums and maxima: convolutions, linear maps, products of matrices, pooling, sums over axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from neurokit.exact.dyadic import is_power_of_two, lowest_bit
from neurokit.export.c.bounds import Integers
from neurokit.export.c.build import Builder
from neurokit.export.c.helpers import accumulator
from neurokit.export.c.parts import Value, c_type, nest, shifted, wide
from neurokit.program import nodes
from neurokit.program.ops import names_of


def _pair(value: Any, dims: int, default: int) -> tuple[int, int]:
    """Returns a setting of rows and columns; a signal in one dimension is a picture of one row."""
    given = [default] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    given = given * dims if len(given) == 1 else given
    return (default, int(given[0])) if dims == 1 else (int(given[0]), int(given[1]))


def _whole_weights(weight: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns weights as whole numbers and each output channel's power of two."""
    flat = weight.double().reshape(len(weight), -1)
    exponent = lowest_bit(flat).amin(1)
    exponent = torch.where(exponent > 100, torch.zeros_like(exponent), exponent)  # a row of zeros
    whole = torch.round(flat * torch.exp2(-exponent)[:, None]).to(torch.int64)
    return whole.reshape(-1).numpy(), exponent.to(torch.int64).numpy()


def _finish(build: Builder, node: Node, value: Value, weight: np.ndarray, exponents: np.ndarray, bias: Any) -> Any:
    """Returns the weights' table and type, the result's grid, and the statement from a sum `a` of channel `o`."""
    assert value.kind is not None
    finest = value.kind.exponent + int(exponents.min(initial=0))
    offset = None if bias is None else bias.double()
    grids = [finest] if offset is None else [finest, int(min(float(lowest_bit(offset).min()), 0.0))]
    kind = build.kind(node, *grids)
    if kind is None:  # the last sum of a network, which may be wider than float32: it is rounded once
        found = build.bounds.values.get(node.name)
        size = math.ceil(max(float(found.pos.max()), float(found.neg.max())) * 2.0 ** -min(grids))
        kind = Integers(min(grids), -size, size)
    type_ = wide(kind)
    shifts = value.kind.exponent + exponents - kind.exponent
    text = f"({type_})a" if type_ == "int64_t" else "a"
    if len(set(shifts.tolist())) == 1:
        text = shifted(text, int(shifts[0]), type_)
    else:
        text = f"{text} * (({type_})1 << {build.table(shifts, 'uint8_t')}[o])"
    if offset is not None and bool(offset.any()):
        whole = np.rint(offset.numpy() * 2.0**-kind.exponent).astype(np.int64)
        table = build.table(whole, c_type(int(whole.min()), int(whole.max())))
        text = f"{text} + {table}[o]"
    type_w = c_type(int(weight.min(initial=0)), int(weight.max(initial=0)))
    return build.table(weight, type_w), type_w, kind, text


def convolve(build: Builder, node: Node) -> Any:
    """A convolution of one or two dimensions with constant weights."""
    name = names_of(node.target)[1]
    value, weight = build.value(node.args[0]), build.values[node.args[1]]  # type: ignore[index]
    arguments: list[Any] = [*node.args[2:], *[None] * (7 - len(node.args))]
    bias, stride, padding, dilation, groups = arguments[:5]
    if name not in ("conv1d", "conv2d") or value.kind is None or isinstance(padding, str):
        return None
    dims = int(name[4])
    (sy, sx), (py, px) = _pair(stride, dims, 1), _pair(padding, dims, 0)
    (dy, dx), groups = _pair(dilation, dims, 1), groups or 1
    if dims == 1:
        py = 0
    shape = nodes.hints(node)
    high, wide_ = (1, value.shape[-1]) if dims == 1 else value.shape[-2:]
    rows, columns = (1, weight.shape[-1]) if dims == 1 else weight.shape[-2:]
    out_h, out_w = (1, shape[-1]) if dims == 1 else shape[-2:]
    count, channels, each = len(weight), value.shape[1], weight.shape[1]
    flat, exponents = _whole_weights(weight)
    bias = None if bias is None else build.values[bias]
    table, type_w, kind, text = _finish(build, node, value, flat, exponents, bias)
    type_x, samples = value.type, value.shape[0]
    source = build.stored(value)
    at = f" + {value.offset}" if value.offset else ""
    sample = f" + n * {channels * high * wide_}" if samples > 1 else ""
    group = f" + o / {count // groups} * {each * high * wide_}" if groups > 1 else ""
    head = ["int32_t i = 0;", *([f"for (int32_t n = 0; n < {samples}; ++n) {{"] if samples > 1 else [])]
    head += [
        f"for (int32_t o = 0; o < {count}; ++o) {{",
        f"const {type_x} *const x = {source.name}{at}{sample}{group};",
        f"for (int32_t p = 0; p < {out_h}; ++p) {{",
        f"for (int32_t q = 0; q < {out_w}; ++q, ++i) {{",
    ]
    kernel = (each, high, wide_, rows, columns, dy, dx, f"p * {sy} - {py}", f"q * {sx} - {px}")
    call = build.call(f"nk_window_{type_x}_{type_w}", "x", f"{table} + o * {each * rows * columns}", *kernel)
    title = f"{name} {each * groups} to {count} channels, {rows} x {columns}"
    loop = build.loop(title, [*head, f"const {accumulator(type_x, type_w)} a = {call};"], 4 if samples > 1 else 3)
    source.last = max(source.last, loop.number)
    return build.apply(node, value, text, kind, loop)


def linear(build: Builder, node: Node) -> Any:
    """A linear map with constant weights."""
    value = build.value(node.args[0])
    weight: Any = build.values.get(node.args[1])  # type: ignore[arg-type]
    if names_of(node.target)[1] != "linear" or not isinstance(weight, Tensor) or value.kind is None:
        return None
    bias = build.values[node.args[2]] if len(node.args) > 2 and node.args[2] is not None else None  # type: ignore[index]
    flat, exponents = _whole_weights(weight)
    table, type_w, kind, text = _finish(build, node, value, flat, exponents, bias)
    count, length = weight.shape
    rows = value.size // length
    source, type_x = build.stored(value), value.type
    at = f" + {value.offset}" if value.offset else ""
    call = build.call(
        f"nk_dot_{type_x}_{type_w}", f"{source.name}{at} + r * {length}", f"{table} + o * {length}", length, 1, 1
    )
    head = [
        "int32_t i = 0;",
        f"for (int32_t r = 0; r < {rows}; ++r) {{",
        f"for (int32_t o = 0; o < {count}; ++o, ++i) {{",
    ]
    head.append(f"const {accumulator(type_x, type_w)} a = {call};")
    loop = build.loop(f"linear {length} to {count}", head, 2)
    source.last = max(source.last, loop.number)
    return build.apply(node, value, text, kind, loop)


def product(build: Builder, node: Node) -> Any:
    """A product of two matrices, or of stacks of them."""
    if names_of(node.target)[1] not in ("matmul", "mm", "bmm"):
        return None
    a, b = build.value(node.args[0]), build.value(node.args[1])
    if a.kind is None or b.kind is None or len(a.shape) < 2 or len(b.shape) < 2:
        return None
    shape, (m, k), n = nodes.hints(node), a.shape[-2:], b.shape[-1]
    kind = build.kind(node, a.kind.exponent + b.kind.exponent)
    if kind is None:
        return None
    lead = [
        (torch.arange(v.size // (v.shape[-2] * v.shape[-1])) * (v.shape[-2] * v.shape[-1]))
        .reshape(v.shape[:-2])
        .expand(shape[:-2])
        for v in (a, b)
    ]
    strides = [[int(s) if size > 1 else 0 for s, size in zip(part.stride(), part.shape, strict=True)] for part in lead]
    first = [
        [int(part.select(x, 1).reshape(-1)[0]) if s else 0 for x, s in enumerate(st)]
        for part, st in zip(lead, strides, strict=True)
    ]
    outer = nest(shape[:-2], first, [0, 0], counter=False)
    sources = [build.stored(v) for v in (a, b)]
    at = [
        f"{source.name} + {v.offset} + {index}" for source, v, index in zip(sources, (a, b), outer.indices, strict=True)
    ]
    head = [
        "int32_t i = 0;",
        *outer.head,
        f"for (int32_t r = 0; r < {m}; ++r) {{",
        f"for (int32_t c = 0; c < {n}; ++c, ++i) {{",
    ]
    call = build.call(f"nk_dot_{a.type}_{b.type}", f"{at[0]} + r * {k}", f"{at[1]} + c", k, 1, n)
    head.append(f"const {accumulator(a.type, b.type)} a = {call};")
    loop = build.loop(f"product {m} x {k} x {n}", head, outer.depth + 2)
    for source in sources:
        source.last = max(source.last, loop.number)
    text = f"({wide(kind)})a" if wide(kind) == "int64_t" else "a"
    return build.apply(
        node, a, shifted(text, a.kind.exponent + b.kind.exponent - kind.exponent, wide(kind)), kind, loop
    )


def max_pool(build: Builder, node: Node) -> Any:
    """The largest of each window, over all of a picture's, or over axes."""
    name = names_of(node.target)[1]
    if name in ("amax", "amin"):
        return over_axes(build, node, name)
    if name not in ("max_pool1d", "max_pool2d"):
        return None
    dims = int(name[8])
    kernel = _pair(node.args[1], dims, 1)
    given: list[Any] = [*node.args[2:], *[None] * 4]
    stride = kernel if not given[0] else _pair(given[0], dims, 1)
    return _pooled(build, node, dims, kernel, stride, _pair(given[1], dims, 0), _pair(given[2], dims, 1), 0, "largest")


def average_pool(build: Builder, node: Node) -> Any:
    """An average over windows of a number of elements that is a power of two."""
    count, kernel = nodes.window_count(node)
    if kernel is None or not is_power_of_two(count):
        return None
    stride, padding = kernel, (0, 0)
    if names_of(node.target)[1] == "avg_pool2d":
        stride = _pair(node.args[2], 2, 1) if len(node.args) > 2 and node.args[2] else kernel
        padding = _pair(node.args[3], 2, 0) if len(node.args) > 3 else (0, 0)
    return _pooled(build, node, 2, kernel, stride, padding, (1, 1), int(math.log2(count)), "total")


def _pooled(
    build: Builder,
    node: Node,
    dims: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    bits: int,
    name: str,
) -> Any:
    value = build.value(node.args[0])
    if value.kind is None:
        return None
    shape = nodes.hints(node)
    high, wide_ = (1, value.shape[-1]) if dims == 1 else value.shape[-2:]
    out_h, out_w = (1, shape[-1]) if dims == 1 else shape[-2:]
    py = 0 if dims == 1 else padding[0]
    kind = build.kind(node, value.kind.exponent - bits)
    if kind is None:
        return None
    source, count = build.stored(value), value.size // (high * wide_)
    at = f" + {value.offset}" if value.offset else ""
    window = (high, wide_, *kernel, *dilation, f"p * {stride[0]} - {py}", f"q * {stride[1]} - {padding[1]}")
    call = build.call(f"nk_{name}_{value.type}", f"{source.name}{at} + n * {high * wide_}", *window)
    head = ["int32_t i = 0;", f"for (int32_t n = 0; n < {count}; ++n) {{", f"for (int32_t p = 0; p < {out_h}; ++p) {{"]
    head += [f"for (int32_t q = 0; q < {out_w}; ++q, ++i) {{", f"const {accumulator(value.type)} a = {call};"]
    loop = build.loop(f"{name} of {kernel[0]} x {kernel[1]}", head, 3)
    source.last = max(source.last, loop.number)
    text = "(int64_t)a" if wide(kind) == "int64_t" else "a" if accumulator(value.type) == "int32_t" else "(int32_t)a"
    return build.apply(node, value, shifted(text, value.kind.exponent - bits - kind.exponent, wide(kind)), kind, loop)


def total(build: Builder, node: Node) -> Any:
    """A sum or a mean over axes; a mean over a number of elements that is a power of two."""
    return over_axes(build, node, names_of(node.target)[1])


def over_axes(build: Builder, node: Node, name: str, source_node: Node | None = None) -> Any:
    """Sums, means, or takes the largest over axes.

    Args:
        build: The builder.
        node: What has the result's shape and bounds.
        name: "sum", "mean", "amax" or "amin".
        source_node: The operation, where that has several results.
    """
    asked = node if source_node is None else source_node
    value = build.value(asked.args[0])
    given: Any = asked.args[1] if len(asked.args) > 1 else None
    rank = len(value.shape)
    axes = sorted({axis % rank for axis in ([given] if isinstance(given, int) else given or range(rank))})
    count = math.prod(value.shape[axis] for axis in axes)
    bits = int(math.log2(count)) if name == "mean" else 0
    if value.kind is None or (name == "mean" and not is_power_of_two(count)):
        return build.gather(node, value, torch.arange(value.size).reshape(nodes.hints(node))) if count == 1 else None
    kind = build.kind(node, value.kind.exponent - bits)
    if kind is None:
        return None
    own = [math.prod(value.shape[axis + 1 :]) for axis in range(rank)]
    kept = [axis for axis in range(rank) if axis not in axes]
    source = build.stored(value)
    outer = nest([value.shape[x] for x in kept], [[own[x] for x in kept]], [value.offset])
    inner = nest([value.shape[x] for x in axes], [[own[x] for x in axes]], [0], counter=False)
    type_ = accumulator(value.type)
    start = "0" if name in ("mean", "sum") else f"{source.name}[{outer.indices[0]}]"
    names = [line.replace("j", "k") for line in inner.head]
    read = f"{source.name}[{outer.indices[0]} + {inner.indices[0].replace('j', 'k')}]"
    take = {"amax": f"if ({read} > a) {{ a = {read}; }}", "amin": f"if ({read} < a) {{ a = {read}; }}"}
    head = [*outer.head, f"{type_} a = {start};", *names, take.get(name, f"a += {read};"), *["}"] * inner.depth]
    loop = build.loop(f"{name} of {count}", head, outer.depth)
    source.last = max(source.last, loop.number)
    text = "(int64_t)a" if wide(kind) == "int64_t" else "a" if type_ == "int32_t" else "(int32_t)a"
    return build.apply(node, value, shifted(text, value.kind.exponent - bits - kind.exponent, wide(kind)), kind, loop)
