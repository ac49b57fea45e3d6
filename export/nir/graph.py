"""A NIR graph in the making: its nodes, the values that flow, and what could not be expressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurokit.errors import Unsupported
from neurokit.program.nodes import module_paths

if TYPE_CHECKING:
    from torch.fx import Node

Lead = tuple[str, ...]  # axes before the sample's: ("T", "B"), ("TB",), ("B",), ("1", "B"), or () where unknown
PARTITION = "split the model there, or export its parts with --option partition=true"
WEIGHTED = ("Conv1d", "Conv2d", "Affine", "Linear")


@dataclass(frozen=True)
class Value:
    """What one tensor of the program is in the graph.

    Attributes:
        sources: Nodes whose outputs add up to it; a name outside the graph where it was computed by something else.
        lead: Axes before the sample's.
        shape: Shape of one sample.
        spikes: Whether every element is 0 or 1.
        sole: Whether nobody but the present reader reads what its source puts out.
        reduced: Whether it stands after the reduction over time, which happens outside of the graph.
        summed: Whether it is a sum over time whose readers divide by T: together with them the mean of the outside.
    """

    sources: tuple[str, ...]
    lead: Lead
    shape: tuple[int, ...]
    spikes: bool = False
    sole: bool = True
    reduced: bool = False
    summed: bool = False


@dataclass(frozen=True)
class Joined(Value):
    """Vectors that were joined, for linear maps to take apart again.

    Attributes:
        parts: What was joined, in order.
    """

    parts: tuple[Value, ...] = ()


@dataclass
class Made:
    """One node of the graph.

    Attributes:
        kind: NIR's name for it.
        fields: Its fields, as NIR names them.
        path: Module path in the user's model.
        tensor: Name of the program's node that computes the same, as far as it has been folded into this one.
        lead: Axes of that tensor before the sample's.
        shape: Shape of one sample of its output.
        level: Number of operations outside of NIR before it, on the longest way.
    """

    kind: str
    fields: dict[str, Any]
    path: str
    tensor: str
    lead: Lead
    shape: tuple[int, ...]
    level: int = 0


@dataclass
class GraphBuilder:
    """Collects nodes, edges and reasons.

    Attributes:
        steps: T of the program that is walked.
        batch: B of it.
        time_output: What the model's output is over time.
        dense_groups: Whether grouped convolutions are written as dense ones.
        dt: Seconds a time step.
        maxpool: How the largest of spikes is written, "threshold" or "neuron".
        nodes: The graph's nodes by name, in order.
        edges: Its edges.
        foreign: Values that something outside NIR computes, by name, as `Made` of kind "".
        reasons: What could not be expressed.
        escapes: Names that something outside the graph reads.
        rewrites: What was expressed by other means, for the user.
    """

    steps: int
    batch: int
    time_output: str
    dense_groups: bool = False
    dt: float = 1e-4
    maxpool: str = "threshold"
    nodes: dict[str, Made] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    foreign: dict[str, Made] = field(default_factory=dict)
    reasons: list[Unsupported] = field(default_factory=list)
    escapes: set[str] = field(default_factory=set)
    rewrites: list[str] = field(default_factory=list)

    def sizes(self, lead: Lead) -> tuple[int, ...]:
        """Returns the sizes of leading axes."""
        known = {"T": self.steps, "B": self.batch, "TB": self.steps * self.batch, "1": 1}
        return tuple(known[axis] for axis in lead)

    def add(
        self, kind: str, fields: dict[str, Any], value: Value | None, node: Node, shape: tuple[int, ...], **changes: Any
    ) -> Value:
        """Adds a node fed by `value` and returns what it puts out.

        Args:
            kind: NIR's name for it.
            fields: Its fields.
            value: What feeds it, or None.
            node: The program's node that computes the same.
            shape: Shape of one sample of its output.
            changes: Fields of the result; `name` is what the node is called instead of its module's path.
        """
        lead = value.lead if value is not None else changes.pop("lead")
        path = module_path(node)
        name = self._name(changes.pop("name", path or node.name))
        sources = value.sources if value is not None else ()
        level = max((self._at(source).level for source in sources), default=0)
        self.nodes[name] = Made(kind, fields, path, node.name, changes.get("lead", lead), shape, level)
        self.edges += [(source, name) for source in sources]
        settings = {"spikes": False, "reduced": value.reduced if value is not None else False, **changes}
        return Value((name,), settings.pop("lead", lead), shape, **settings)

    def refuse(self, node: Node, what: str, why: str, fix: str, values: list[Value]) -> Value:
        """Notes why an operation cannot be expressed; returns its result as a value from outside."""
        reason = Unsupported(module_path(node), what, why, fix)
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.outside(node, values)

    def outside(self, node: Node, values: list[Value]) -> Value:
        """Returns the result of an operation that runs outside of the graph."""
        level = 1 + max((self._at(s).level for value in values for s in value.sources), default=0)
        self.escapes.update(source for value in values for source in value.sources)
        lead, shape = self.layout(shape_of(node))
        self.foreign[node.name] = Made("", {}, module_path(node), node.name, lead, shape, level)
        return Value((node.name,), lead, shape)

    def layout(self, shape: tuple[int, ...]) -> tuple[Lead, tuple[int, ...]]:
        """Tells the leading axes of a tensor by their sizes; () where they are not recognisable."""
        for lead in (("T", "B"), ("TB",), ("B",)):
            if shape[: len(lead)] == self.sizes(lead):
                return lead, shape[len(lead) :]
        return (), shape

    def sum_of(self, a: Value, b: Value, node: Node) -> Value:
        """Returns a + b: edges from both, with a node between where they share one."""
        if set(a.sources) & set(b.sources):
            b = self.add("Scale", {"scale": np.ones(b.shape, np.float32)}, b, node, b.shape)
        lead = a.lead if a.lead else b.lead
        return Value((*a.sources, *b.sources), lead, a.shape, reduced=a.reduced or b.reduced, sole=False)

    def _at(self, source: str) -> Made:
        return self.nodes[source] if source in self.nodes else self.foreign[source]

    def input_name(self, port: str) -> str:
        """Returns what the node of one of several inputs is called."""
        return self._name(f"input_{port}")

    def _name(self, wanted: str) -> str:
        base = "".join(c if c.isalnum() or c == "_" else "_" for c in wanted) or "node"
        name, count = base, 1
        while name in self.nodes or name in ("input", "output"):
            count += 1
            name = f"{base}_{count}"
        return name


Rule = Callable[[GraphBuilder, "Node", Sequence[Any], dict[str, Any]], Any]


def module_path(node: Node) -> str:
    """Returns the path of the user's module that an operation belongs to."""
    return (module_paths(node) or [""])[-1]


def shape_of(node: Node) -> tuple[int, ...]:
    """Returns the sizes of a node's tensor in the example that was traced."""
    value = node.meta.get("val")
    return tuple(concrete(size) for size in value.shape) if hasattr(value, "shape") else ()


def concrete(size: Any) -> int:
    """Returns a size as a number: for a symbol, the one of the traced example."""
    return int(size) if isinstance(size, int) else int(size.node.hint)


def values_in(args: Sequence[Any]) -> list[Value]:
    """Returns the values among arguments, also those inside lists."""
    leaves = torch.utils._pytree.tree_leaves(list(args))
    return [value for value in leaves if isinstance(value, Value)]


def op_name(node: Node) -> str:
    """Returns the name of the operation that a node calls."""
    if isinstance(node.target, BuiltinFunctionType):  # operator.getitem: one of several outputs
        return node.target.__name__
    return str(node.target).removeprefix("aten.").partition(".")[0]


def pair(value: Any) -> tuple[int, int]:
    """Returns one number or two as two."""
    flat = list(value) if isinstance(value, Sequence) else [value]
    return (int(flat[0]), int(flat[-1]))
