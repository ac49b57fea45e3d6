"""Rules of casts, logic, choices between tensors, and places of the largest."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import Node

from neurokit.export.c.bounds import Integers
from neurokit.export.c.build import Builder, as_float
from neurokit.export.c.elementwise import compare, each, keep
from neurokit.export.c.parts import Value, nest, number
from neurokit.export.c.sums import over_axes
from neurokit.program.ops import names_of

_BITS = Integers(0, 0, 1)
_LOGIC = {"and": "&", "or": "|", "xor": "^"}


def cast(build: Builder, node: Node) -> Any:
    """Another element type: whole numbers lose their digits towards zero, and truth values are zeros and ones."""
    kind = node.meta["val"].dtype
    if kind.is_floating_point:
        return keep(build, node)
    value = build.value(node.args[0])
    loop, x = build.here(value)
    if kind is torch.bool:
        return build.apply(node, x, f"{x.name} != 0", _BITS, loop)
    if x.kind is None:
        made = build.kind(node)
        return None if made is None else build.apply(node, x, f"(int32_t){x.name}", made, loop)
    if x.kind.exponent >= 0:
        return value
    unit = 2**-x.kind.exponent
    made = Integers(0, math.trunc(x.kind.low / unit), math.trunc(x.kind.high / unit))
    narrow = "(int32_t)" if x.wide == "int64_t" and max(-made.low, made.high) < 2**31 else ""
    return build.apply(node, x, f"{narrow}({x.name} / {number(unit, x.wide)})", made, loop)


def logic(build: Builder, node: Node) -> Any:
    """Comparisons, and what is made of truth values."""
    name = names_of(node.target)[1].strip("_").removeprefix("logical_").removeprefix("bitwise_")
    if name not in (*_LOGIC, "not"):
        return compare(build, node)
    if node.meta["val"].dtype is not torch.bool:
        return None
    if name == "not":
        loop, x = build.here(build.value(node.args[0]))
        return build.apply(node, x, f"{x.name} == 0", _BITS, loop)
    values = [build.value(arg) for arg in node.args[:2]]
    return each(build, node, values, lambda x, y: f"({x.name} != 0) {_LOGIC[name]} ({y.name} != 0)", _BITS)


def created(build: Builder, node: Node) -> Any:
    """A tensor of no other tensor's numbers."""
    made = build.bounds.values.get(node.name)
    return build.constant(made) if isinstance(made, torch.Tensor) and made.numel() else None


def choose(build: Builder, node: Node) -> Any:
    """Elements of one tensor or another, as a condition says."""
    if len(node.args) < 3:
        return None
    named = names_of(node.target)[1] == "where"
    first, second, third = node.args[:3]
    condition, a, b = (build.value(arg) for arg in ((first, second, third) if named else (second, third, first)))
    kind = build.kind_of(node, a, b)

    def text(c: Value, x: Value, y: Value) -> str:
        options = [as_float(v) if kind is None else build.aligned(v, kind) for v in (x, y)]
        return f"{c.name} != 0 ? {options[0]} : {options[1]}"

    return each(build, node, [condition, a, b], text, kind)


def place(build: Builder, node: Node) -> Any:
    """Where the largest or smallest element along an axis is; of equal ones the first."""
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if not isinstance(axis, int):
        return None
    return _place(build, node, build.value(node.args[0]), axis, names_of(node.target)[1] in ("argmin", "min"))


def _place(build: Builder, node: Node, value: Value, axis: int, smallest: bool) -> Value:
    """Adds the search along an axis; `node` has the result's shape."""
    rank = len(value.shape)
    axis %= rank
    own = [math.prod(value.shape[at + 1 :]) for at in range(rank)]
    kept = [at for at in range(rank) if at != axis]
    source = build.stored(value)
    outer = nest([value.shape[x] for x in kept], [[own[x] for x in kept]], [value.offset])
    read = [f"{source.name}[{outer.indices[0]} + {k} * {own[axis]}]" for k in ("k", "a")]
    sign = "<" if smallest else ">"
    search = f"for (int32_t k = 1; k < {value.shape[axis]}; ++k) {{ if ({read[0]} {sign} {read[1]}) {{ a = k; }} }}"
    loop = build.loop("place of the largest", [*outer.head, "int32_t a = 0;", search], outer.depth)
    source.last = max(source.last, loop.number)
    return build.apply(node, value, "a", Integers(0, 0, value.shape[axis] - 1), loop)


def largest(build: Builder, node: Node) -> Any:
    """The largest or smallest along an axis, and where it is."""
    if not isinstance(node.args[0], Node) or len(node.args) < 2 or not isinstance(node.args[1], int):
        return None
    parts = {user.args[1]: user for user in node.users}
    name = names_of(node.target)[1]
    value = over_axes(build, parts[0], f"a{name}", node) if 0 in parts else "unread"
    found = _place(build, parts[1], build.value(node.args[0]), node.args[1], name == "min") if 1 in parts else "unread"
    return None if value is None else [value, found]


def one_hot(build: Builder, node: Node) -> Any:
    """A one in the place that a whole number says."""
    value = build.value(node.args[0])
    if value.kind is None or value.kind.exponent:
        return None
    source = build.stored(value)
    classes = int(node.meta["val"].shape[-1])
    made = nest([value.size, classes], [[1, 0], [0, 1]], [value.offset, 0])
    loop = build.loop("one hot", made.head, made.depth)
    source.last = max(source.last, loop.number)
    return build.apply(node, value, f"{source.name}[{made.indices[0]}] == {made.indices[1]}", _BITS, loop)
