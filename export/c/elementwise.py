"""Rules of operations on single elements, of moves, and of joins."""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from neurokit.exact.dyadic import is_power_of_two
from neurokit.export.c.bounds import Integers, of_constants
from neurokit.export.c.build import Builder, as_float, cast, constant_of
from neurokit.export.c.parts import Value, nest, number, real, shifted, wide
from neurokit.program import nodes
from neurokit.program.ops import names_of


def keep(build: Builder, node: Node) -> Any:
    """An operation that changes no element."""
    return build.value(node.args[0])


def move(build: Builder, node: Node) -> Any:
    """An operation that moves elements: an alias, strides, or a table of places."""
    if node.target is operator.getitem:
        return build.values[node.args[0]][node.args[1]]  # type: ignore[index]
    value = build.value(node.args[0])
    target: Any = node.target
    rest = [_plain(arg) for arg in node.args[1:]]
    places = torch.arange(value.size, dtype=torch.float64).reshape(value.shape)
    found = target(places, *rest, **node.kwargs)
    if isinstance(found, list | tuple):
        return [build.gather(node, value, part.long()) for part in found]
    return build.gather(node, value, found.long())


def _plain(arg: Any) -> Any:
    if isinstance(arg, Node):  # of a tensor the shape is read, of a size its number
        value = arg.meta["val"]
        return torch.empty(nodes.hints(arg)) if isinstance(value, torch.Tensor) else nodes.hint(value)
    return [_plain(part) for part in arg] if isinstance(arg, list | tuple) else arg


def join(build: Builder, node: Node) -> Any:
    """Tensors one after the other along an axis: every part is stored in the result."""
    target: Any = node.target
    parts = [build.value(part) for part in node.args[0]]  # type: ignore[union-attr]
    kind = build.kind_of(node, *parts)
    shape = nodes.hints(node)
    whole = build.apply_empty(node, kind)
    first = 0
    for part in parts:
        numbered = [
            torch.arange(p.size, dtype=torch.float64).reshape(p.shape) if p is part else torch.full(p.shape, -1.0)
            for p in parts
        ]
        laid = target(numbered, *node.args[1:], **node.kwargs).reshape(-1)
        places = torch.nonzero(laid >= 0).reshape(-1)[torch.argsort(laid[laid >= 0])]
        build.scatter(whole, part, places.reshape(part.shape), kind, names_of(target)[1])
        first += part.size
    assert first == math.prod(shape)
    return whole


def pad(build: Builder, node: Node) -> Any:
    """Padding by a constant, or by elements of the tensor."""
    name = names_of(node.target)[1]
    given = dict(zip(("mode", "value"), node.args[2:], strict=False)) | dict(node.kwargs)
    if name == "constant_pad_nd":
        given = {"value": node.args[2] if len(node.args) > 2 else node.kwargs.get("value")}
    if name not in ("pad", "constant_pad_nd") or given.get("mode", "constant") != "constant":
        return move(build, node)
    value = build.value(node.args[0])
    kind = build.kind_of(node, value)
    number_ = float(given.get("value") or 0.0)  # type: ignore[arg-type]
    whole = build.apply_empty(node, kind)
    loop = build.loop("padding", [f"for (int32_t i = 0; i < {whole.size}; ++i) {{"], 1)
    filled = real(number_) if kind is None else constant_of(number_, kind)
    loop.body.append(f"{build.target(whole, loop)}[i] = {filled};")
    places = torch.constant_pad_nd(
        torch.arange(value.size, dtype=torch.float64).reshape(value.shape),
        node.args[1],
        -1.0,  # type: ignore[arg-type]
    ).reshape(-1)
    inside = torch.nonzero(places >= 0).reshape(-1)[torch.argsort(places[places >= 0])]
    build.scatter(whole, value, inside.reshape(value.shape), kind, name)
    return whole


def limit(build: Builder, node: Node) -> Any:
    """Relu and clamps."""
    name = names_of(node.target)[1].removesuffix("_")
    first = node.args[1] if len(node.args) > 1 else None
    second = node.args[2] if len(node.args) > 2 else None
    low: Any = node.kwargs.get("min", first)
    high: Any = node.kwargs.get("max", second)
    if name in ("relu", "relu6"):
        low, high = 0.0, 6.0 if name == "relu6" else None
    if name == "hardtanh":
        low = node.kwargs.get("min_val", -1.0 if first is None else first)
        high = node.kwargs.get("max_val", 1.0 if second is None else second)
    if name == "clamp_max":
        low, high = None, node.kwargs.get("max", first)
    if any(isinstance(end, Node) for end in (low, high)):
        return None
    loop, x = build.here(build.value(node.args[0]))
    kind = build.kind_of(node, x)
    if kind is None:
        ends = [real(-math.inf) if low is None else real(low), real(math.inf) if high is None else real(high)]
        ends = [end.replace("-inff", "-INFINITY").replace("inff", "INFINITY") for end in ends]
        return build.apply(node, x, build.call("nk_limit_float", as_float(x), *ends), None, loop)
    type_ = wide(kind)
    bounds = [
        f"{type_.removesuffix('_t').upper()}_{end}" if value is None else constant_of(value, kind)
        for end, value in (("MIN", low), ("MAX", high))
    ]
    call = "nk_limit_wide" if type_ == "int64_t" else "nk_limit"
    return build.apply(node, x, build.call(call, build.aligned(x, kind), *bounds), kind, loop)


def round_(build: Builder, node: Node) -> Any:
    """The nearest whole number, from halves to the even one."""
    if node.kwargs.get("decimals") or names_of(node.target)[1] != "round":
        return None
    loop, x = build.here(build.value(node.args[0]))
    kind = build.kind(node)
    if x.kind is None:
        rounded = build.call("nk_round_float", x.name)
        if kind is None or max(-kind.low, kind.high) >= 2**22:
            return None
        return build.apply(node, x, f"(int32_t){rounded}", Integers(0, kind.low, kind.high), loop)
    if x.kind.exponent >= 0:
        return x
    call = "nk_round_wide" if x.wide == "int64_t" else "nk_round"
    low, high = (_shift(end, x.kind.exponent) for end in (x.kind.low, x.kind.high))
    made = Integers(0, low, high)
    narrow = "(int32_t)" if x.wide == "int64_t" and wide(made) == "int32_t" else ""
    return build.apply(node, x, narrow + build.call(call, x.name, -x.kind.exponent), made, loop)


def _shift(end: int, exponent: int) -> int:
    return round(end * 2.0**exponent)


def sign(build: Builder, node: Node) -> Any:
    """Neg and abs."""
    loop, x = build.here(build.value(node.args[0]))
    kind = build.kind_of(node, x)
    x_ = build.aligned(x, kind)
    if names_of(node.target)[1].startswith("neg"):
        return build.apply(node, x, f"-{x_}", kind, loop)
    return build.apply(node, x, f"{x_} < 0 ? -{x_} : {x_}", kind, loop)


def multiply(build: Builder, node: Node) -> Any:
    """A product with a number, with constants, or of two tensors."""
    a, b = node.args[0], node.args[1]
    divides = names_of(node.target)[1].removesuffix("_") in ("div", "divide", "true_divide")
    if not isinstance(b, Node) or not isinstance(a, Node):
        scalar: Any = b if isinstance(a, Node) else a
        if isinstance(scalar, bool) or (divides and (not isinstance(a, Node) or node.kwargs.get("rounding_mode"))):
            return None
        return _scaled(build, node, a if isinstance(a, Node) else b, float(scalar), divides)
    if divides:
        return None
    p, q = build.value(a), build.value(b)
    kind = None if p.kind is None or q.kind is None else build.kind(node, p.kind.exponent + q.kind.exponent)

    def product(x: Value, y: Value) -> str:
        if kind is None or x.kind is None or y.kind is None:
            return f"{as_float(x)} * {as_float(y)}"
        bits = x.kind.exponent + y.kind.exponent - kind.exponent
        return shifted(f"({cast(x, kind)} * {y.name})", bits, wide(kind))

    return binary(build, node, p, q, product, kind)


def _scaled(build: Builder, node: Node, given: Any, scalar: float, divides: bool) -> Any:
    value = build.value(given)
    power = is_power_of_two(abs(scalar))
    if power and scalar > 0 and value.kind is not None:  # only the grid changes
        bits = int(math.log2(scalar)) * (-1 if divides else 1)
        return _regrid(value, bits)
    loop, x = build.here(value)
    factor = of_constants(torch.tensor(1.0 / scalar if divides else scalar))
    kind = None if x.kind is None else build.kind(node, x.kind.exponent + factor.exponent)
    if kind is None or x.kind is None or (divides and not power):
        sign_ = "/" if divides else "*"
        return build.apply(node, x, f"{as_float(x)} {sign_} {real(float(torch.tensor(scalar)))}", None, loop)
    whole = factor.low
    bits = x.kind.exponent + factor.exponent - kind.exponent
    return build.apply(
        node, x, shifted(f"({cast(x, kind)} * {number(whole, wide(kind))})", bits, wide(kind)), kind, loop
    )


def _regrid(value: Value, bits: int) -> Value:
    assert value.kind is not None
    return replace(value, kind=Integers(value.kind.exponent + bits, value.kind.low, value.kind.high))


def add(build: Builder, node: Node) -> Any:
    """A sum or a difference of two, tensors or numbers."""
    name = names_of(node.target)[1].removesuffix("_")
    if node.kwargs.get("alpha", 1) != 1 or len(node.args) > 2:
        return None
    a, b = build.value(node.args[0]), build.value(node.args[1])
    if name == "rsub":
        a, b = b, a
    kind, sign_ = build.kind_of(node, a, b), "+" if name == "add" else "-"
    return binary(build, node, a, b, lambda x, y: f"{build.aligned(x, kind)} {sign_} {build.aligned(y, kind)}", kind)


def largest(build: Builder, node: Node) -> Any:
    """The larger or smaller of two."""
    smaller = names_of(node.target)[1].startswith("min")
    a, b = build.value(node.args[0]), build.value(node.args[1])
    kind = build.kind_of(node, a, b)
    if kind is None:
        return None

    def choose(x: Value, y: Value) -> str:
        p, q = build.aligned(x, kind), build.aligned(y, kind)
        return f"{p} {'<' if smaller else '>'} {q} ? {p} : {q}"

    return binary(build, node, a, b, choose, kind)


_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}


def compare(build: Builder, node: Node) -> Any:
    """A comparison: zeros and ones."""
    sign_ = _SIGNS.get(names_of(node.target)[1].removesuffix("_"))
    if sign_ is None:
        return None
    a, b = build.value(node.args[0]), build.value(node.args[1])
    bits = Integers(0, 0, 1)

    def ask(x: Value, y: Value) -> str:
        if x.kind is None or y.kind is None:
            return f"{as_float(x)} {sign_} {as_float(y)}"
        exponent = min(x.kind.exponent, y.kind.exponent)
        p, q = (shifted(f"(int64_t){v.name}", v.kind.exponent - exponent, "int64_t") for v in (x, y) if v.kind)
        return f"{p} {sign_} {q}"

    return binary(build, node, a, b, ask, bits)


def binary(build: Builder, node: Node, a: Value, b: Value, text: Any, kind: Integers | None) -> Value:
    """An operation on elements of two tensors, one of which may be repeated."""
    return each(build, node, [a, b], text, kind)


def each(build: Builder, node: Node, values: list[Value], text: Any, kind: Integers | None) -> Value:
    """An operation on elements of several tensors, of which some may be repeated."""
    shape = nodes.hints(node)
    size = math.prod(shape)
    if all(v.size == size for v in values):
        loop, _ = build.here(max(values, key=lambda v: v.loop.number if v.loop is not None else -1))
        read = [v if v.loop is loop else build.read(v, loop) for v in values]
        return build.apply(node, read[0], text(*read), kind, loop)
    places = [torch.arange(v.size, dtype=torch.float64).reshape(v.shape).expand(shape) for v in values]
    strides = [[int(s) if n > 1 else 0 for s, n in zip(p.stride(), shape, strict=True)] for p in places]
    for v in values:
        build.stored(v)
    made = nest(shape, strides, [0] * len(values))
    loop = build.loop(names_of(node.target)[1], made.head, made.depth)
    read = [build.read(v, loop, index) for v, index in zip(values, made.indices, strict=True)]
    return build.apply(node, read[0], text(*read), kind, loop)
