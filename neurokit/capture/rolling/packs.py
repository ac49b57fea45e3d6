"""Finds, in an unrolled program, which operations are the T steps of one operation over time.

A loop over time in a module's forward leaves T copies of its body in the graph. `Packer` asks, from the neurons
backwards, whether T nodes do the same to the T values of a sequence; then they are one operation on `[T, ...]`. What
reads a value of the step before is not: it stays as it is, one operation a step.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from neurokit.neurons.ops import is_neuron

aten = torch.ops.aten
_MOST_LATE = 3  # steps by which a sequence may come later


@dataclass(frozen=True)
class Uniform:
    """The same value at every step."""

    value: Any


@dataclass(frozen=True)
class Sliced:
    """Step t is `source` at place t of its axis `axis`; with `keep`, that axis stays there with length one.

    Attributes:
        source: The sequence.
        axis: Its axis of time.
        keep: Whether the axis stays.
        start: The first place.
        short: How many of the last places are left out.
    """

    source: Node
    axis: int
    keep: bool = False
    start: int = 0
    short: int = 0


@dataclass(frozen=True)
class Gathered:
    """T values that are no steps of one operation, put together."""

    lanes: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Headed:
    """A first step that is another computation, and one operation at every later step.

    What a step reads of the input of the step before begins with something else: zeros, nothing, the first input.

    Attributes:
        head: The first step.
        rest: Pack of the T - 1 others; another one with a head where steps come two or three steps later.
    """

    head: Node
    rest: Sliced | Packed | Headed


@dataclass(frozen=True, eq=False)
class Packed:
    """One operation at every step.

    Attributes:
        lanes: Its T nodes.
        target: What they call.
        args: Their arguments; every Node is replaced by a pack.
        kwargs: Their keyword arguments, in the same way.
    """

    lanes: tuple[Node, ...]
    target: Any
    args: Any
    kwargs: Any


@dataclass(frozen=True, eq=False)
class PackedNeuron:
    """One neuron over T steps: its currents are a pack, its first membrane a value of the unrolled graph.

    Attributes:
        lanes: Its T nodes.
        current: Pack of the currents `[B, ...]` of every step.
        start: The membrane before the first step.
        tail: Its other arguments.
    """

    lanes: tuple[Node, ...]
    current: Pack
    start: Node
    tail: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Spikes:
    """The spikes of a packed neuron, `[T, B, ...]`."""

    neuron: PackedNeuron


Pack = Uniform | Sliced | Gathered | Headed | Packed | Spikes


class Packer:
    """Packs the steps of an unrolled graph.

    Args:
        graph: The graph.
        steps: Number of steps T.
    """

    def __init__(self, graph: Graph, steps: int) -> None:
        self.steps = steps
        self.neurons: dict[tuple[Node, ...], PackedNeuron | None] = {}
        self.lane_of: dict[Node, tuple[Packed | PackedNeuron, int]] = {}
        self._known: dict[tuple[Any, ...], Pack | None] = {}
        self._open: list[tuple[Node, ...]] = []
        self._number = {node: index for index, node in enumerate(graph.nodes)}
        self._above: dict[Node, int] = {}
        for node in graph.nodes:  # the nodes that each depends on, as bits
            bits = 1 << self._number[node]
            for source in node.all_input_nodes:
                bits |= self._above[source]
            self._above[node] = bits

    def neuron(self, lanes: tuple[Node, ...]) -> PackedNeuron | None:
        """Returns T calls of one neuron as one, or None if they are not one neuron over plain steps."""
        if lanes in self.neurons:
            return self.neurons[lanes]
        made = self._neuron(lanes) if lanes not in self._open else None
        if lanes not in self._open:
            self.neurons[lanes] = made
        if made is not None:
            self.lane_of.update({node: (made, t) for t, node in enumerate(lanes)})
        return made

    def _neuron(self, lanes: tuple[Node, ...]) -> PackedNeuron | None:
        first = lanes[0]
        for before, node in itertools.pairwise(lanes):
            v = node.args[1]
            chained = isinstance(v, Node) and v.target is operator.getitem and v.args == (before, 1)
            if not chained or node.target != first.target or node.args[2:] != first.args[2:]:
                return None
            if len(v.users) > 1:  # type: ignore[union-attr]
                return None  # the membrane between two steps is read
        currents = [node.args[0] for node in lanes]
        if not all(isinstance(c, Node) and c.target == aten.unsqueeze.default and c.args[1] == 0 for c in currents):
            return None
        self._open.append(lanes)
        try:
            current = self.pack(tuple(c.args[0] for c in currents))  # type: ignore[union-attr]
        finally:
            self._open.pop()
        if current is None:
            return None
        return PackedNeuron(lanes, current, first.args[1], tuple(first.args[2:]))  # type: ignore[arg-type]

    def pack(self, lanes: tuple[Any, ...], gather: bool = True) -> Pack | None:
        """Returns T arguments as one, or None if a step needs what the steps before it made of this one."""
        if all(lane is lanes[0] or (not isinstance(lane, Node) and _equal(lane, lanes[0])) for lane in lanes):
            return Uniform(lanes[0])
        if not all(isinstance(lane, Node) for lane in lanes):
            return None
        if lanes not in self._known:
            if lanes in self._open:
                return None
            self._open.append(lanes)
            try:
                made = self._one_operation(lanes) or self._headed(lanes)
            finally:
                self._open.pop()
            if isinstance(made, Packed) and len(lanes) == self.steps:
                self.lane_of.update({node: (made, t) for t, node in enumerate(lanes)})
            self._known[lanes] = made
        made = self._known[lanes]
        return self._gathered(lanes) if made is None and gather else made

    def _headed(self, lanes: tuple[Node, ...]) -> Headed | None:
        """Returns T nodes as a first one and a pack of the others, or None."""
        first = lanes[0].meta.get("val")
        whole = len(lanes) == self.steps
        if len(lanes) <= self.steps - _MOST_LATE or len(lanes) < 3 or not isinstance(first, Tensor):
            return None
        later = lanes[1].meta.get("val")
        alike = isinstance(later, Tensor) and (first.dtype, _sizes(first)) == (later.dtype, _sizes(later))
        running = sum(1 << self._number[node] for node in {node for group in self._open for node in group} - {*lanes})
        if not alike or self._above[lanes[0]] & running:
            return None
        rest = self.pack(lanes[1:], gather=False)
        late = isinstance(rest, Headed) or (isinstance(rest, Sliced) and rest.short and not rest.keep and not rest.axis)
        return Headed(lanes[0], rest) if late or (whole and isinstance(rest, Sliced | Packed)) else None  # type: ignore[arg-type]

    def _gathered(self, lanes: tuple[Node, ...]) -> Pack | None:
        if len(lanes) != self.steps:
            return None
        if any(node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor) for node in lanes):
            return None
        if len({node.meta["val"].dtype for node in lanes}) > 1:
            return None
        if len({_sizes(node.meta["val"]) for node in lanes}) > 1:
            return None
        running = 0
        for group in self._open:
            for node in group:
                running |= 1 << self._number[node]
        return None if any(self._above[node] & running for node in lanes) else Gathered(lanes)

    def _one_operation(self, lanes: tuple[Node, ...]) -> Pack | None:
        first = lanes[0]
        if any(node.op != "call_function" or node.target != first.target for node in lanes):
            return None
        if not isinstance(first.meta.get("val"), Tensor | list | tuple):
            return Uniform(first)  # a size: equal at every step, since the shapes are
        sliced = self._sliced(lanes)
        if sliced is not None:
            return sliced
        spikes = self._spikes(lanes)
        if spikes is not None or is_neuron(first.target) or any(_neuron_of(node) for node in lanes):
            return spikes
        if torch.Tag.nondeterministic_seeded in getattr(first.target, "tags", ()):
            return None
        args = self._structure([node.args for node in lanes])
        kwargs = self._structure([dict(node.kwargs) for node in lanes])
        if args is None or kwargs is None:
            return None
        if not any(isinstance(leaf, Pack) and not isinstance(leaf, Uniform) for leaf in _leaves((args, kwargs))):
            return Uniform(first)
        return Packed(lanes, first.target, args, kwargs)

    def _sliced(self, lanes: tuple[Node, ...]) -> Sliced | None:
        """Returns the sequence whose steps the nodes pick, or None."""
        first = lanes[0]
        source = first.args[0] if first.args else None
        begin: Any
        if first.target == aten.select.int and isinstance(first.args[2], int):
            begin = first.args[2] % self.steps
            if all(
                node.args[0] is source
                and node.args[1] == first.args[1]
                and node.args[2] in (begin + t, begin + t - self.steps)
                for t, node in enumerate(lanes)
            ):
                return self._whole(source, first.args[1], begin, len(lanes))
        if first.target is operator.getitem and isinstance(source, Node):
            begin = first.args[1]
            same = all(node.args == (source, begin + t) for t, node in enumerate(lanes))
            if same and source.target == aten.unbind.int:
                return self._whole(source.args[0], source.args[1] if len(source.args) > 1 else 0, begin, len(lanes))
            chunked = source.target in (aten.split.Tensor, aten.chunk.default, aten.tensor_split.sections)
            if same and chunked and len(source.meta["val"]) == self.steps:
                axis = source.args[2] if len(source.args) > 2 else 0
                return self._whole(source.args[0], axis, begin, len(lanes), keep=True)
        if first.target == aten.slice.Tensor and all(
            node.args[0] is source and node.args[1] == first.args[1] and tuple(node.args[2:4]) == (t, t + 1)
            for t, node in enumerate(lanes)
        ):
            return self._whole(source, first.args[1], 0, len(lanes), keep=True)
        return None

    def _whole(self, source: Any, axis: Any, begin: int, count: int, keep: bool = False) -> Sliced | None:
        value, end = source.meta.get("val"), begin + count
        if not isinstance(value, Tensor) or value.shape[axis] != self.steps or end > self.steps:
            return None
        if begin and end < self.steps:
            return None
        return Sliced(source, axis % value.dim(), keep, begin, self.steps - end)

    def _spikes(self, lanes: tuple[Node, ...]) -> Spikes | None:
        """Returns the spikes that `squeeze(getitem(neuron, 0), 0)` picks at every step, or None."""
        calls = [_neuron_of(node) for node in lanes]
        if any(call is None for call in calls):
            return None
        neuron = self.neuron(tuple(calls)) if len(calls) == self.steps else None  # type: ignore[arg-type]
        return None if neuron is None else Spikes(neuron)

    def _structure(self, given: Sequence[Any]) -> Any:
        """Packs the leaves of T equal structures of arguments; None if one cannot be."""
        first = given[0]
        if isinstance(first, dict):
            packed = {key: self._structure([value[key] for value in given]) for key in first}
            return None if any(value is None for value in packed.values()) else packed
        if isinstance(first, list | tuple):
            if any(len(value) != len(first) for value in given):
                return None
            parts = [self._structure(values) for values in zip(*given, strict=True)]
            return None if any(part is None for part in parts) else tuple(parts)
        return self.pack(tuple(given))


def _neuron_of(node: Node) -> Node | None:
    """Returns the neuron whose spikes of one step, without a time axis, a node is."""
    if node.target != aten.squeeze.dim or node.args[1] != 0:
        return None
    spikes = node.args[0]
    if not isinstance(spikes, Node) or spikes.target is not operator.getitem or spikes.args[1] != 0:
        return None
    call = spikes.args[0]
    return call if isinstance(call, Node) and is_neuron(call.target) else None


def _leaves(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return [leaf for value in structure.values() for leaf in _leaves(value)]
    if isinstance(structure, tuple):
        return [leaf for value in structure for leaf in _leaves(value)]
    return [structure]


def _sizes(value: Tensor) -> tuple[str, ...]:
    return tuple(str(size) for size in value.shape)


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
