"""Refuses ONNX graphs whose loops or functions could run for ever, before ONNX Runtime sees them.

What neurokit's exports write goes round once a time step, sample or tile: a Loop's count is a small constant, or
follows from sizes of tensors by sums, differences and quotients. Anything else (a count without a bound, a condition
alone, loops in loops of millions of rounds, functions that call each other twice, forty deep) is no export of ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import NamedTuple

from neurokit.export.onnx import wire

MOST_RUNS = 1_000_000  # runs of operators without a loop over a size, a call: ONNX Runtime needs seconds for them
_MOST_ROUNDS = 2**20  # of the constant part of a count
_MOST_SIZES = 64  # of the sizes that a count adds up
_MOST_DEPTH = 40  # of graphs in graphs; protobuf itself ends there
_DEEP_FUNCTIONS = 10_000  # operators of one function, written out
_LOOPS = (b"Loop", b"Scan", b"SequenceMap")
_SAME = {"Gather", "Slice", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Cast", "Concat", "Div", "Abs"}
_SUMS = {"Add", "Sub", "Max"}
_INT64, _INT32 = 7, 6


class EndlessError(ValueError):
    """A graph that could run for ever; its text says what does."""


class Rounds(NamedTuple):
    """Upper bound of a whole number: a constant and so many times the largest size of a tensor."""

    constant: int
    sizes: int


@dataclass
class Node:
    """What of a node tells how often it runs."""

    op: str = ""
    domain: str = ""
    overload: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    graphs: list[Graph] = field(default_factory=list)
    value: int | None = None  # of a constant: the largest of its numbers
    refers: bool = False  # whether an attribute is one of the function that it stands in


@dataclass
class Graph:
    """Nodes and small whole-number constants of a graph or function."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, int | None] = field(default_factory=dict)


def may_loop(content: bytes | mmap) -> bool:
    """Refuses a model that could run for ever; returns whether there is a loop in it at all.

    Args:
        content: A model's bytes; of weights in other files nothing is needed.

    Raises:
        EndlessError: Says what could.
        ValueError: If the bytes are no model.
    """
    loops = any(content.find(name) >= 0 for name in _LOOPS)
    _hold(memoryview(content), loops)
    return loops


def _hold(data: memoryview, loops: bool) -> None:
    functions = dict(_functions(data))
    counted = _Counted(functions)
    deep = [key for key in functions if counted.function(key, ()) > _DEEP_FUNCTIONS]
    if loops or deep:
        runs = sum(counted.graph(_graph(wire.part(value), 0), (), ()) for n, value in wire.fields(data) if n == 7)
        if runs > MOST_RUNS:
            raise EndlessError(f"its operators run {_rough(runs)} times a call, by loops and functions in each other")


class _Counted:
    """Counts how many operators a graph runs, every loop over a size taken once."""

    def __init__(self, functions: Mapping[tuple[str, str, str], Graph]) -> None:
        self._functions = functions
        self._known: dict[tuple[str, str, str], int] = {}

    def function(self, key: tuple[str, str, str], inside: tuple[tuple[str, str, str], ...]) -> int:
        if key in inside or len(inside) > len(self._functions):
            raise EndlessError(f"its function {key[1]!r} calls itself")
        if key not in self._known:
            self._known[key] = self.graph(self._functions[key], (), (*inside, key))
        return self._known[key]

    def graph(self, graph: Graph, outer: tuple[_Scope, ...], inside: tuple[tuple[str, str, str], ...]) -> int:
        scopes = (*outer, _Scope(graph))
        total = 0
        for node in graph.nodes:
            total += 1
            key = node.domain, node.op, node.overload
            if key in self._functions:
                total += self.function(key, inside)
            if node.graphs:
                rounds = _rounds(node, scopes) if node.op == "Loop" else 1
                total += rounds * sum(self.graph(each, scopes, inside) for each in node.graphs)
        return total


class _Scope:
    """Who makes each value of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.constants = graph.constants
        self.made = {name: node for node in graph.nodes for name in node.outputs if name}


def _rounds(node: Node, scopes: tuple[_Scope, ...]) -> int:
    """Returns the constant part of a Loop's count, at least 1."""
    name = node.inputs[0] if node.inputs else ""
    if not name:
        raise EndlessError("a Loop of it has no number of rounds, only a condition")
    bound = _bound(name, scopes, {}, 0)
    if bound is None:
        raise EndlessError("a Loop of it goes round as often as its numbers say, not its sizes")
    if bound.constant > _MOST_ROUNDS or bound.sizes > _MOST_SIZES:
        raise EndlessError(f"a Loop of it may go round {_rough(bound.constant)} times")
    return max(1, bound.constant)


def _bound(name: str, scopes: tuple[_Scope, ...], known: dict[str, Rounds | None], depth: int) -> Rounds | None:
    """Returns the upper bound of the size of a number; None where there is none."""
    if depth > 200:
        return None
    if name not in known:
        known[name] = None  # until it is known: a graph that bites its tail has none
        known[name] = _bound_of(name, scopes, known, depth)
    return known[name]


def _bound_of(name: str, scopes: tuple[_Scope, ...], known: dict[str, Rounds | None], depth: int) -> Rounds | None:
    at = next((k for k in reversed(range(len(scopes))) if name in scopes[k].constants or name in scopes[k].made), None)
    if at is None:
        return None
    held, node = scopes[at].constants.get(name), scopes[at].made.get(name)
    if name in scopes[at].constants:
        return None if held is None else Rounds(abs(held), 0)
    if node is None or node.domain not in ("", "ai.onnx") or node.refers:
        return None
    if node.op == "Constant":
        return None if node.value is None else Rounds(abs(node.value), 0)
    if node.op in ("Shape", "Size", "SequenceLength"):
        return Rounds(0, 1)
    within = scopes[: at + 1]
    if node.op in _SAME:
        data = node.inputs if node.op == "Concat" else node.inputs[:1]
        return _largest([_bound(each, within, known, depth + 1) for each in data])
    bounds = [_bound(each, within, known, depth + 1) for each in node.inputs]
    if node.op == "Min":  # of numbers that may be negative, the larger part of either
        return _largest(bounds)
    if node.op in _SUMS and None not in bounds:
        return Rounds(sum(b.constant for b in bounds if b), sum(b.sizes for b in bounds if b))
    return None


def _largest(bounds: Sequence[Rounds | None]) -> Rounds | None:
    if not bounds or None in bounds:
        return None
    return Rounds(max(b.constant for b in bounds if b), max(b.sizes for b in bounds if b))


def _functions(data: memoryview) -> Iterator[tuple[tuple[str, str, str], Graph]]:
    for number, value in wire.fields(data):
        if number == 25:
            names = {1: "", 10: "", 13: ""}
            graph = Graph()
            for at, each in wire.fields(wire.part(value)):
                if at in names:
                    names[at] = wire.text(each)
                elif at == 7:
                    graph.nodes.append(_node(wire.part(each), 0))
            yield (_plain(names[10]), names[1], names[13]), graph


def _graph(data: memoryview, depth: int) -> Graph:
    if depth > _MOST_DEPTH:
        raise EndlessError(f"graphs lie in each other more than {_MOST_DEPTH} deep")
    made = Graph()
    for number, value in wire.fields(data):
        if number == 1:
            made.nodes.append(_node(wire.part(value), depth))
        elif number == 5:
            name, held = _tensor(wire.part(value))
            made.constants[name] = held
    return made


def _node(data: memoryview, depth: int) -> Node:
    made = Node()
    for number, value in wire.fields(data):
        if number in (1, 2):
            (made.inputs if number == 1 else made.outputs).append(wire.text(value))
        elif number == 4:
            made.op = wire.text(value)
        elif number == 7:
            made.domain = _plain(wire.text(value))
        elif number == 8:
            made.overload = wire.text(value)
        elif number == 5:
            _attribute(wire.part(value), made, depth)
    return made


def _attribute(data: memoryview, node: Node, depth: int) -> None:
    found: list[int] = []
    for number, value in wire.fields(data):
        if number in (6, 11):
            node.graphs.append(_graph(wire.part(value), depth + 1))
        elif number == 21:
            node.refers = True
        elif number in (3, 8):
            found += wire.numbers(value)
        elif number == 5:
            held = _tensor(wire.part(value))[1]
            found += [] if held is None else [held]
    if node.op in ("Constant", "") and found:  # the operator's name may stand behind its attributes
        node.value = max([abs(each) for each in found] + [node.value or 0])


def _tensor(data: memoryview) -> tuple[str, int | None]:
    """Returns a tensor's name, and of a few whole numbers the largest, without its sign."""
    name, kind, count, raw, found = "", 0, 1, None, []
    for number, value in wire.fields(data):
        if number == 1:
            count *= math.prod(wire.numbers(value))
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = wire.text(value)
        elif number == 9:
            raw = wire.part(value)
        elif number in (5, 7) and count <= 64:
            found += wire.numbers(value)
    if kind not in (_INT32, _INT64) or not 0 < count <= 64:
        return name, None
    if raw is not None:
        size = 8 if kind == _INT64 else 4
        found += [int.from_bytes(raw[at : at + size], "little", signed=True) for at in range(0, len(raw), size)]
    return name, max((abs(each) for each in found), default=None)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _rough(count: int) -> str:
    return f"{count:,}" if count < 10**12 else f"10^{len(str(count)) - 1}"
