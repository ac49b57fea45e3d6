"""What one operation of a traced program is given: its arguments, what they are made of, and how to call it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from neurokit.hw_sim.trace.rolled import Group, flat, joined, leaves
from neurokit.hw_sim.trace.values import Value

if TYPE_CHECKING:
    from neurokit.hw_sim.trace.tracer import Tracer


class Arguments:
    """What one operation is given: its arguments by name, what they are made of, and how to call it again.

    Attributes:
        arguments: By name, as the schema says.
        values: By name, those that depend on the input (a list for a list of tensors).
        users: How many operations go on from its result.
    """

    arguments: dict[str, Any]
    values: dict[str, Any]
    users: int

    def entering(self) -> list[tuple[Value, Tensor]]:
        """Returns every argument that depends on the input, with its numbers."""
        pairs: list[tuple[Value, Tensor]] = []
        for name, value in self.values.items():
            real = self.arguments[name]
            rows = zip(value, real, strict=True) if isinstance(value, list) else [(value, real)]
            pairs += [(part, number) for part, number in rows if isinstance(part, Value)]
        return pairs

    def held(self) -> Any:
        """Returns the worth of one of several results, for an operation that only takes it."""
        raise NotImplementedError

    def again(self, changes: dict[str, Any]) -> Any:
        """Calls the operation with other tensors."""
        raise NotImplementedError


class Single(Arguments):
    """The arguments of one node."""

    def __init__(self, tracer: Tracer, node: Node) -> None:
        self._tracer, self._node = tracer, node
        self._names = _names(node)
        self.users = sum(user in tracer.live for user in node.users)
        self._args = torch.fx.node.map_arg(node.args, tracer.real.__getitem__)
        self._kwargs = torch.fx.node.map_arg(node.kwargs, tracer.real.__getitem__)
        self.arguments = dict(zip(self._names, self._args, strict=False)) | self._kwargs
        self.values = {}
        for name, given in (dict(zip(self._names, node.args, strict=False)) | dict(node.kwargs)).items():
            known = _known(given, tracer.values.get)
            if known is not None:
                self.values[name] = known

    def held(self) -> Any:
        """Returns the worth of the result that is taken; of a strange operation, that of all of them."""
        if hasattr(self._node.target, "_schema"):
            return None
        return _picked(self._tracer.values, self._node)

    def again(self, changes: dict[str, Any]) -> Any:
        """Calls the operation with other tensors."""
        return _called(self._node, self._names, self._args, self._kwargs, changes)


class Rolled(Arguments):
    """The arguments of one operation of a loop, all steps joined."""

    def __init__(self, tracer: Tracer, group: Group) -> None:
        self._tracer, self._group, self._node = tracer, group, group.node
        self._names = _names(self._node)
        members = [node for node in group.members if node is not None]
        self.users = max(sum(user in tracer.live for user in node.users) for node in members)
        self.is_sum = group.is_sum
        self._rows = [leaves(node) if node is not None else None for node in group.members]
        self.arguments, self.values = {}, {}
        self._split: dict[str, Any] = {}
        own = self._node in tracer.neurons or self._node in tracer.cells.paths  # a neuron's state is its own affair
        place = 0
        for name, given in [*zip(self._names, self._node.args, strict=False), *self._node.kwargs.items()]:
            several = isinstance(given, list | tuple)
            count = len(flat(given))
            parts = [self._part(place + i, not own) for i in range(count)]
            place += count
            self.arguments[name] = [real for real, _, _ in parts] if several else parts[0][0]
            self._split[name] = [split for _, _, split in parts] if several else parts[0][2]
            known = [value for _, value, _ in parts]
            if any(value is not None for value in known):
                self.values[name] = known if several else known[0]

    def _part(self, column: int, wanted: bool) -> tuple[Any, Any, bool]:
        """Returns one argument's numbers over all steps, its worth, and whether each step has a share of its own."""
        tracer, (where, group) = self._tracer, self._group.columns[column]
        reals = [None if row is None else tracer.real_of(row[column]) for row in self._rows]
        leaf = self._rows[-1][column] if self._rows[-1] else None
        if where in ("same", "varies"):
            return reals[-1], tracer.values.get(leaf) if isinstance(leaf, Node) else None, False
        real = joined(reals)
        assert group is not None
        if where == "step":
            return real, tracer.whole.get(group), True
        if not wanted or group is self._group:
            return real, None, True
        return real, tracer.late_value(group, real), True

    def held(self) -> Any:
        """Returns the worth of the result that is taken: of an operation in each step, or each step of one."""
        if hasattr(self._node.target, "_schema"):
            return None
        where, group = self._group.columns[0]
        if group is not None:
            place: Any = self._node.args[1]
            held = self._tracer.whole.get(group)
            return held[place] if isinstance(held, list) else held
        picked = [_picked(self._tracer.values, node) for node in self._group.members if node is not None]
        return _joined_values(picked) if where == "same" and len(picked) == len(self._group.members) else None

    def again(self, changes: dict[str, Any]) -> Any:
        """Calls the operation of every step with its share of other tensors."""
        steps = len(self._group.members)
        parts: list[Any] = [
            None
            if node is None
            else self._one(node, {n: _share(t, self._split[n], k, steps) for n, t in changes.items()})
            for k, node in enumerate(self._group.members)
        ]
        nothing = parts[-1]
        if parts[0] is None:
            parts[0] = torch.full_like(nothing, 0 if nothing.is_floating_point() else -1)
        return joined(parts)

    def _one(self, node: Node, changes: dict[str, Any]) -> Any:
        real = self._tracer.real.__getitem__
        args, kwargs = (torch.fx.node.map_arg(a, real) for a in (node.args, node.kwargs))
        return _called(node, self._names, args, kwargs, changes)


def _picked(values: dict[Node, Any], node: Node) -> Any:
    """Returns what is taken of an operation with several results; of one whose results are one value, that."""
    source, place = node.args[:2]
    held = values.get(source) if isinstance(source, Node) else None
    return held[place] if isinstance(held, list) and isinstance(place, int) else held


def _names(node: Node) -> list[str]:
    schema = getattr(node.target, "_schema", None)
    return [argument.name for argument in schema.arguments] if schema else [str(i) for i in range(len(node.args))]


def _known(given: Any, worth: Callable[[Node], Any]) -> Any:
    """Returns what an argument is made of: None if it does not depend on the input."""
    if isinstance(given, Node):
        return worth(given)
    if isinstance(given, list | tuple):
        found = [worth(part) if isinstance(part, Node) else None for part in given]
        return found if any(part is not None for part in found) else None
    return None


def _called(node: Node, names: list[str], args: Any, kwargs: Any, changes: dict[str, Any]) -> Any:
    """Calls a node's operation with some arguments changed."""
    positional = [changes.get(name, given) for name, given in zip(names, args, strict=False)]
    return node.target(*positional, **{name: changes.get(name, given) for name, given in kwargs.items()})  # type: ignore[operator]


def _share(given: Any, split: Any, step: int, steps: int) -> Any:
    """Returns one step's part of an argument, of those that have a part in each step."""
    if isinstance(given, list | tuple):
        return [_share(part, own, step, steps) for part, own in zip(given, split, strict=True)]
    return given.chunk(steps)[step] if split and isinstance(given, Tensor) and given.dim() else given


def _joined_values(parts: list[Any]) -> Any:
    """Returns the steps of one tensor, taken one by one, as the tensor over all steps."""
    first = parts[0]
    if not isinstance(first, Value) or first.unknown or first.once:
        return first
    terms = tuple(
        replace(term, ids=torch.cat([part.terms[place].ids for part in parts]))
        for place, term in enumerate(first.terms)
    )
    constant = None if first.constant is None else torch.cat([part.constant for part in parts])
    return replace(first, terms=terms, constant=constant)
