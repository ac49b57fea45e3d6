"""One call of an operation in a captured program, and what every family of operations needs of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.trace.builder import Builder
from neurokit.hw_sim.trace.values import Value
from neurokit.program.ops import Kind


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
        kind: What the table of operations says of it; None where it says nothing.
        floats: Whether it takes floating-point tensors alone.
    """

    operation: str
    path: str
    arguments: dict[str, Any]
    values: dict[str, Any]
    result: Any
    again: Callable[[dict[str, Any]], Any]
    kind: Kind | None = None
    floats: bool = False

    def get(self, *names: str, default: Any = None) -> Any:
        """Returns the first of the named arguments that the operation has."""
        return next((self.arguments[name] for name in names if name in self.arguments), default)


def give_up(call: Call, builder: Builder, operation: str = "") -> Value:
    """Lists a call as not counted; the connections that led to it are counted all the same."""
    for value in call.values.values():
        for given in value if isinstance(value, list) else [value]:
            for term in given.terms if isinstance(given, Value) else ():
                if isinstance(term.source, Projection):
                    builder.settle(term.source, term.source.name)
    return builder.not_understood(call.path, operation or call.operation)


def first(result: Any, value: Value) -> Any:
    """Returns a value as the first of an operation's results where it has several."""
    return [value, None, None] if isinstance(result, tuple | list) else value


def sum_name(value: Value, path: str) -> str:
    """Returns the name of the population that a value's sum becomes."""
    if len(value.terms) == 1 and isinstance(value.terms[0].source, Projection):
        return value.terms[0].source.name
    return f"{path}.input"


def each(value: Any, axes: int) -> tuple[int, ...]:
    """Returns one number for each axis."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * axes if len(values) == 1 else values))
