"""Turns an exact program into loops of C: one walk over its nodes, with element-wise operations fused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.export.c.bounds import PORT_TYPES, Bounds, Integers, of_constants, placeholders
from neurokit.export.c.parts import Buffer, Loop, Value, nest, number, real, shifted, wide
from neurokit.program import nodes
from neurokit.program.ops import kind_of, names_of
from neurokit.program.walk import fetch

if TYPE_CHECKING:
    from neurokit.capture import Captured

#: A rule: (builder, node) -> value, or several.
Rule = Callable[["Builder", Node], Any]


@dataclass(frozen=True)
class Neuron:
    """One layer of neurons.

    Attributes:
        path: Module path.
        index: Its place in the order of execution.
        size: Number of neurons.
        type: Type of a membrane: "int32_t", "int64_t" or "float".
        exponent: Of a membrane in whole numbers: it counts units of 2**exponent.
        op: "if_", "lif" or "plif".
        threshold: A membrane at it fires.
        reset: Potential after a spike, or None where the threshold is subtracted.
        leak: What the membrane loses a step, 1/tau as a number; 0 for `if_`.
        decay_input: Whether the input is multiplied by the leak, too.
        start: Membrane before the first step.
        endless: Whether it is proven for any number of steps.
        drop: What a soft reset subtracts.
    """

    path: str
    index: int
    size: int
    type: str
    exponent: int
    op: str
    threshold: float
    reset: float | None
    leak: float
    decay_input: bool
    start: np.ndarray
    endless: bool
    drop: float = 0.0


@dataclass(frozen=True)
class Carried:
    """A value that the model carries from step to step beside its membranes.

    Attributes:
        name: Its name.
        size: Number of elements.
        kind: Whole numbers on a grid, or None for float32.
        type: What it is stored in.
        start: Its values before the first step, in its own units.
        endless: Whether `kind` holds for any number of steps.
    """

    name: str
    size: int
    kind: Integers | None
    type: str
    start: np.ndarray
    endless: bool


@dataclass
class Table:
    """Constants of the program."""

    name: str
    type: str
    values: np.ndarray


@dataclass
class Network:
    """Everything that the source is written from."""

    name: str
    steps: int | None
    loops: list[Loop] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    neurons: list[Neuron] = field(default_factory=list)
    carried: list[Carried] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    inputs: list[tuple[str, str, int]] = field(default_factory=list)
    outputs: list[tuple[str, int]] = field(default_factory=list)

    @property
    def streams(self) -> bool:
        """Whether anything is kept from step to step."""
        return bool(self.neurons or self.carried)


class Builder:
    """Builds a network from an exact program.

    Args:
        captured: The program for one sample; of a spiking network its step form.
        steps: Number of steps that membranes in whole numbers must hold for; 1 without neurons.
        floats: Whether membranes are float32, for any number of steps.
    """

    def __init__(self, captured: Captured, steps: int, floats: bool) -> None:
        self.captured, self.floats = captured, floats
        self.bounds = Bounds(captured, steps)
        self.module: Any = self.bounds.module
        self.net = Network(captured.spec.name, steps if captured.spiking else None)
        self.values: dict[Node, Any] = {}
        self.state_of: dict[Node, int] = {}
        self._after: list[Node] = []
        self._counter = 0
        self._kept: dict[tuple[int, str], Buffer] = {}

    def build(self, rules: dict[Any, Rule]) -> Network:
        """Walks over the program.

        Raises:
            UnsupportedError: If an operation has no rule; names it.
        """
        states = len(self.captured.states)
        given = placeholders(self.module)
        self._inputs(given[: len(given) - states])
        self.state_of = {node: at for at, node in enumerate(given[len(given) - states :])}
        self._carry(given)
        for node in self.module.graph.nodes:
            if node.op == "get_attr":
                self.values[node] = fetch(self.module, str(node.target)).detach()
            elif node.op == "call_function":
                self.values[node] = self._call(rules, node)
            elif node.op == "output":
                self._outputs(node)
        return self.net

    def _call(self, rules: dict[Any, Rule], node: Node) -> Any:
        rule = rules.get(names_of(node.target)[1].removesuffix("_")) or rules.get(kind_of(node.target))
        made = None if rule is None else rule(self, node)
        if made is None:
            path = next(reversed(nodes.module_paths(node)), "")
            why = "this operation, with these arguments, is not written as C"
            reason = Unsupported(
                path, names_of(node.target)[1], why, "use --target onnx, which takes the exact form too"
            )
            raise UnsupportedError(f"target 'c' cannot take model {self.captured.spec.name!r}", [reason])
        return made

    def _inputs(self, given: list[Node]) -> None:
        for port, node in zip(self.captured.inputs, given, strict=True):
            name = f"in{len(self.net.inputs)}"
            kind = self.bounds.integers(node.name)
            value = Value(nodes.hints(node), kind)
            buffer = Buffer(name, PORT_TYPES[port.dtype], value.size)
            self.net.inputs.append((port.name, buffer.type, value.size))
            self.values[node] = replace(value, buffer=buffer)

    def _carry(self, given: list[Node]) -> None:
        """Gives every carried value its place in the state."""
        end = next(node for node in self.module.graph.nodes if node.op == "output")
        after = end.args[0][len(self.captured.output_names) :]
        for node, at in self.state_of.items():
            state = self.captured.states[at]
            if state.neuron:
                continue
            kind = _widest(self.bounds.integers(node.name), self.bounds.integers(after[at].name))
            value = Value(nodes.hints(node), kind)
            start = self.captured.initial_states(1)[at].reshape(-1).double().numpy()
            units = start if kind is None else np.rint(start * 2.0**-kind.exponent).astype(np.int64)
            name = f"s->c{len(self.net.carried)}"
            self.net.carried.append(Carried(state.name, value.size, kind, value.type, units, self.bounds.settled))
            self.values[node] = replace(value, buffer=Buffer(name, value.type, value.size))
            self._after.append(after[at])

    def _keep(self) -> None:
        """Stores what every carried value is after the step, when everything that reads it has run."""
        made = []
        for carried, node in zip(self.net.carried, self._after, strict=True):
            loop, x = self.here(self.value(node))
            text = as_float(x) if carried.kind is None else self._on_carried_grid(x, carried.kind)
            made.append(self.stored(self.apply(node, x, text, carried.kind, loop)))
        for at, (carried, buffer) in enumerate(zip(self.net.carried, made, strict=True)):
            loop = self.loop(carried.name, [f"for (int32_t i = 0; i < {carried.size}; ++i) {{"], 1)
            buffer.last = loop.number
            loop.body.append(f"s->c{at}[i] = {buffer.name}[i];")

    def _on_carried_grid(self, x: Value, kind: Integers) -> str:
        """Returns a variable on the grid that is proven to hold it after every step, of those that it counts in."""
        if x.kind is None or x.kind.exponent >= kind.exponent:
            return self.aligned(x, kind)
        quotient = f"{x.name} / {number(1 << (kind.exponent - x.kind.exponent), x.wide)}"
        return f"({wide(kind)})({quotient})"

    def _outputs(self, node: Node) -> None:
        names = self.captured.output_names
        results: Any = node.args[0]
        for at, result in enumerate(results[: len(names)]):
            value: Value = self.values[result]
            loop = self.loop_over(value) if value.loop is None else value.loop
            read = value if value.loop is not None else self.read(value, loop)
            factor = "" if read.kind is None or not read.kind.exponent else f" * {real(2.0**read.kind.exponent)}"
            loop.body.append(f"out{at}[i] = (float){read.name}{factor};")
            self.net.outputs.append((names[at], value.size))
        self._keep()

    # --- what rules build with

    def fresh(self) -> str:
        """Returns a variable name that is not used yet."""
        self._counter += 1
        return f"v{self._counter}"

    def loop(self, title: str, head: list[str], depth: int) -> Loop:
        """Adds a loop nest at the end."""
        made = Loop(len(self.net.loops), title, head, tail=["}"] * depth)
        self.net.loops.append(made)
        return made

    def loop_over(self, value: Value) -> Loop:
        """Adds a loop over the elements of a stored value."""
        self.stored(value)
        return self.loop("", [f"for (int32_t i = 0; i < {value.size}; ++i) {{"], 1)

    def read(self, value: Value, loop: Loop, index: str = "i") -> Value:
        """Reads one element of a stored value in a loop."""
        source = self.source(value, loop)
        name = self.fresh()
        loop.body.append(f"const {value.wide} {name} = {source}[{index}];")
        return replace(value, loop=loop, name=name)

    def source(self, value: Value, loop: Loop) -> str:
        """Stores a value if it is not, notes that a loop reads it, and returns the place of its first element."""
        buffer = self.stored(value)
        buffer.last = max(buffer.last, loop.number)
        return f"({buffer.name} + {value.offset})" if value.offset else buffer.name

    def stored(self, value: Value) -> Buffer:
        """Returns a value's buffer; a value that has none is stored in the loop that computes it."""
        if value.buffer is not None:
            return value.buffer
        loop = value.loop
        assert loop is not None
        known = self._kept.get((loop.number, value.name))
        if known is None:
            known = Buffer(f"b{len(self.net.buffers)}", value.type, value.size, loop.number, loop.number, planned=True)
            self.net.buffers.append(known)
            self._kept[loop.number, value.name] = known
            cast = "" if value.type == value.wide else f"({value.type})"
            loop.body.append(f"{known.name}[i] = {cast}{value.name};")
        return known

    def here(self, value: Value) -> tuple[Loop, Value]:
        """Returns a loop in whose body a value is a variable: its own where it is still open to fusion."""
        if value.loop is not None:
            return value.loop, value
        loop = self.loop_over(value)
        return loop, self.read(value, loop)

    def apply(self, node: Node, value: Value, expression: str, kind: Integers | None, loop: Loop) -> Value:
        """Adds a statement that computes an element of a node's result."""
        name = self.fresh()
        made = Value(nodes.hints(node), kind, loop, name)
        loop.body.append(f"const {made.wide} {name} = {expression};")
        return made

    def kind(self, node: Node, *exponents: int) -> Integers | None:
        """Returns what a node's result is, on a grid that is no coarser than any of the given ones."""
        found = self.bounds.integers(node.name)
        if found is None:
            return None
        finest = min((found.exponent, *exponents))
        unit = 1 << (found.exponent - finest)
        return Integers(finest, found.low * unit, found.high * unit)

    def kind_of(self, node: Node, *values: Value) -> Integers | None:
        """Returns what a node's result is, on a grid that holds the given values too; None if one is float32."""
        kinds = [value.kind for value in values]
        return None if any(k is None for k in kinds) else self.kind(node, *(k.exponent for k in kinds if k))

    def aligned(self, value: Value, kind: Integers | None) -> str:
        """Returns a variable on the grid of a result, or as float32 where the result is that."""
        if kind is None:
            return as_float(value)
        if value.kind is None:
            raise ValueError("float32 becomes whole numbers by rounding alone")
        return shifted(cast(value, kind), value.kind.exponent - kind.exponent, wide(kind))

    def table(self, values: np.ndarray, kind: str) -> str:
        """Adds constants; returns their name. Equal ones are kept once."""
        for known in self.net.tables:
            if known.type == kind and known.values.shape == values.shape and np.array_equal(known.values, values):
                return known.name
        made = Table(f"t{len(self.net.tables)}", kind, values)
        self.net.tables.append(made)
        return made.name

    def call(self, name: str, *arguments: Any) -> str:
        """Returns a call of a helper, which is then part of the source."""
        self.net.helpers.add(name)
        return f"{name}({', '.join(map(str, arguments))})"

    def constant(self, value: Any) -> Value:
        """Returns numbers of the program as a value that can be read in loops."""
        tensor = torch.as_tensor(value, dtype=torch.float32)
        kind = of_constants(tensor)
        numbers = np.rint(tensor.double().numpy() * 2.0**-kind.exponent).astype(np.int64).reshape(-1)
        made = Value(tuple(tensor.shape), kind)
        return replace(made, buffer=Buffer(self.table(numbers, made.type), made.type, made.size))

    def value(self, given: Any) -> Value:
        """Returns the value of an argument: a node's, or that of constants."""
        found = self.values[given] if isinstance(given, Node) else given
        return self.constant(found) if isinstance(found, Tensor | int | float) else found

    def apply_empty(self, node: Node, kind: Integers | None) -> Value:
        """Returns a result that several loops write, each a part of it."""
        value = Value(nodes.hints(node), kind)
        at = len(self.net.loops)
        buffer = Buffer(f"b{len(self.net.buffers)}", value.type, value.size, at, at, planned=True)
        self.net.buffers.append(buffer)
        return replace(value, buffer=buffer)

    def target(self, value: Value, loop: Loop) -> str:
        """Notes that a loop writes a part of a value, and returns the place of its first element."""
        assert value.buffer is not None
        value.buffer.last = max(value.buffer.last, loop.number)
        return value.buffer.name

    def scatter(self, whole: Value, part: Value, places: Tensor, kind: Integers | None, title: str) -> None:
        """Writes the elements of a value to places of another one."""
        strides = _strides(places)
        source = Value(part.shape, part.kind, None, "", self.stored(part), part.offset)
        own = [1] * len(part.shape)
        for axis in range(len(part.shape) - 2, -1, -1):
            own[axis] = own[axis + 1] * part.shape[axis + 1]
        if strides is None:
            table = self.table(places.reshape(-1).numpy(), "uint32_t")
            made = nest([part.size], [[1], [1]], [0, 0], counter=False)
            indices = [made.indices[0], f"{table}[{made.indices[1]}]"]
        else:
            made = nest(part.shape, [own, strides], [0, int(places.reshape(-1)[0])], counter=False)
            indices = made.indices
        loop = self.loop(title, made.head, made.depth)
        read = self.read(source, loop, indices[0])
        cast_ = "" if whole.type == whole.wide else f"({whole.type})"
        loop.body.append(f"{self.target(whole, loop)}[{indices[1]}] = {cast_}({self.aligned(read, kind)});")

    def gather(self, node: Node, value: Value, places: Tensor) -> Value | None:
        """Returns elements of a value by their flat indices, in the shape of the indices."""
        shape, flat = tuple(places.shape), places.reshape(-1)
        if torch.equal(flat, torch.arange(value.size)):
            return replace(value, shape=shape)
        if len(flat) and torch.equal(flat, torch.arange(len(flat)) + flat[0]):
            buffer = self.stored(value)
            return Value(shape, value.kind, None, "", buffer, value.offset + int(flat[0]))
        strides = _strides(places)
        if strides is None:
            table = self.table(flat.numpy(), "uint16_t" if value.size <= 65536 else "uint32_t")
            made = nest([len(flat)], [[1]], [0])
            index = f"{table}[i]"
        else:
            made = nest(shape, [strides], [int(flat[0])])
            index = made.indices[0]
        source = Value(value.shape, value.kind, None, "", self.stored(value), value.offset)
        loop = self.loop(names_of(node.target)[1], made.head, made.depth)
        return replace(self.read(source, loop, index), shape=shape, buffer=None, offset=0)


def _strides(places: Tensor) -> list[int] | None:
    """Returns the stride along each axis if flat indices are affine in the place, else None."""
    origin = int(places.reshape(-1)[0])
    strides = [
        int(places.select(axis, 1).reshape(-1)[0]) - origin if size > 1 else 0 for axis, size in enumerate(places.shape)
    ]
    made = torch.full_like(places, origin)
    for axis, (size, stride) in enumerate(zip(places.shape, strides, strict=True)):
        made = made + (torch.arange(size) * stride).reshape([-1 if at == axis else 1 for at in range(places.dim())])
    return strides if torch.equal(made, places) else None


def _widest(a: Integers | None, b: Integers | None) -> Integers | None:
    """Returns whole numbers that hold both."""
    if a is None or b is None:
        return None
    finest = min(a.exponent, b.exponent)
    units = [1 << (each.exponent - finest) for each in (a, b)]
    return Integers(finest, min(a.low * units[0], b.low * units[1]), max(a.high * units[0], b.high * units[1]))


def as_float(value: Value) -> str:
    """Returns a variable as float32, exactly."""
    if value.kind is None:
        return value.name
    factor = "" if not value.kind.exponent else f" * {real(2.0**value.kind.exponent)}"
    return f"((float){value.name}{factor})"


def cast(value: Value, kind: Integers) -> str:
    """Returns a variable in the type in which a result is computed."""
    return f"(int64_t){value.name}" if wide(kind) == "int64_t" and value.wide != "int64_t" else value.name


def on_grid(value: float, exponent: int) -> int:
    """Returns a number in units of 2**exponent."""
    return int(np.rint(float(value) * 2.0**-exponent))


def constant_of(value: float, kind: Integers) -> str:
    """Returns a number that lies on a grid as a constant of a result's type."""
    return number(on_grid(value, kind.exponent), wide(kind))
