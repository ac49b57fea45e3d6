"""Writes a graph in which every pack is one operation over T steps."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_flatten

from neurokit.capture.rolling.batched import batched
from neurokit.capture.rolling.own_steps import STEP
from neurokit.capture.rolling.packs import Gathered, Headed, Pack, Packed, PackedNeuron, Packer, Sliced, Spikes, Uniform

aten = torch.ops.aten
_SUMS = {aten.add.Tensor: aten.sum.dim_IntList, aten.maximum.default: aten.amax.default}


class CircularError(Exception):
    """An operation over all steps would need its own result."""


class Emitter:
    """Copies a graph, packs in the place of their steps.

    Args:
        graph: The unrolled graph.
        packer: What found the packs.
    """

    def __init__(self, graph: Graph, packer: Packer) -> None:
        self.graph = Graph()
        self.neurons: list[tuple[Node, tuple[Node, ...]]] = []  # new node, the calls that it stands for
        self._old, self._packer, self._steps = graph, packer, packer.steps
        self._nodes: dict[Node, Any] = {}
        self._packs: dict[Any, Node] = {}
        self._open: set[Any] = set()
        self._copied: dict[Node, Node] = {}

    def original(self, node: Node) -> Node:
        """Returns the old node that a new one is a copy of."""
        return self._copied[node]

    def run(self) -> Graph:
        """Returns the new graph; its placeholders are those of the old one.

        Raises:
            CircularError: If a pack needs itself.
        """
        outputs = None
        with _deep():
            for node in self._old.nodes:
                if node.op == "placeholder":
                    self._nodes[node] = self.graph.placeholder(node.name)
                    self._nodes[node].meta = dict(node.meta)
                elif node.op == "output":
                    outputs = map_arg(node.args[0], self.value)
            self.graph.output(outputs)
        return self.graph

    def value(self, node: Node) -> Any:
        """Returns the new node that stands for an old one."""
        if node in self._nodes:
            return self._nodes[node]
        if node in self._open:
            raise CircularError(node.name)
        self._open.add(node)
        made = self._over_time(node)
        if made is None:
            made = self._scalar(node)
        self._open.discard(node)
        self._nodes[node] = made
        return made

    def _scalar(self, node: Node) -> Any:
        lane = self._packer.lane_of.get(node)
        if lane is not None and isinstance(lane[0], Packed):
            t = lane[1]
            if isinstance(node.meta.get("val"), Tensor):
                return self._call(node, aten.select.int, self.pack(lane[0]), 0, self._place(t))
        if node.target is operator.getitem and isinstance(node.args[0], Node):
            call = self._packer.lane_of.get(node.args[0])
            if call is not None and isinstance(call[0], PackedNeuron):
                return self._of_neuron(node, call[0], call[1])
            steps, ends = node.args[0], (0, self._steps - 1)
            # T results hold for one T. The first and the last of them are there for any, a fourth is not.
            if steps.target == aten.unbind.int and len(steps.meta["val"]) == self._steps and node.args[1] in ends:
                axis: Any = steps.args[1] if len(steps.args) > 1 else 0
                whole, place = self.value(steps.args[0]), self._place(node.args[1])  # type: ignore[arg-type]
                return self._call(node, aten.select.int, whole, axis, place)
        return self._copy(node)

    def _of_neuron(self, node: Node, neuron: PackedNeuron, t: int) -> Node:
        """Returns spikes `[1, B, ...]` of one step, or the membrane after the last."""
        call = self._neuron(neuron)
        if node.args[1] == 0:
            spikes, last = self._call(node, operator.getitem, call, 0), t == self._steps - 1
            return self._call(node, aten.slice.Tensor, spikes, 0, self._place(t), sys.maxsize if last else t + 1)
        if t != self._steps - 1:
            raise CircularError(node.name)  # only the membrane after all steps is known
        return self._call(node, operator.getitem, call, 1)

    def _place(self, t: int) -> int:
        """Returns a step's place; that of the last is counted from the end, so that it holds for any T."""
        return -1 if t == self._steps - 1 else t

    def _copy(self, node: Node) -> Node:
        if node.op == "get_attr":
            return self.graph.get_attr(str(node.target))
        made = self._call(node, node.target, *map_arg(node.args, self.value), **map_arg(node.kwargs, self.value))
        self._copied[made] = node
        made.meta |= {name: node.meta[name] for name in ("val", STEP) if name in node.meta}
        return made

    def _call(self, like: Node, target: Any, *args: Any, **kwargs: Any) -> Node:
        made = self.graph.call_function(target, args, kwargs)
        for name in ("nn_module_stack", "stack_trace"):
            if name in like.meta:
                made.meta[name] = like.meta[name]
        return made

    def _over_time(self, node: Node) -> Node | None:
        """Returns a stack, sum or maximum of T steps as one operation on their pack, or None."""
        if node.target in (aten.stack.default, aten.cat.default):
            return self._stacked(node)
        if node.target in _SUMS:
            return self._accumulated(node)
        if node.target == aten.select_scatter.default:
            return self._written(node)
        return None

    def _stacked(self, node: Node) -> Node | None:
        parts: Any = node.args[0]
        axis: Any = node.args[1] if len(node.args) > 1 else 0
        if len(parts) != self._steps:
            return None
        rank = parts[0].meta["val"].dim()
        if node.target == aten.cat.default:
            lengths = [part.meta["val"].shape[axis] for part in parts]
            ones = [part.args[0] for part in parts if part.target == aten.unsqueeze.default and part.args[1] == axis]
            if any(length != 1 for length in lengths) or len(ones) != len(parts):
                return None
            parts, rank = ones, rank - 1
        pack = self._packer.pack(tuple(parts), gather=False)
        if pack is None or isinstance(pack, Uniform):
            return None
        whole = self.pack(pack)
        return whole if axis % (rank + 1) == 0 else self._call(node, aten.movedim.int, whole, 0, axis % (rank + 1))

    def _written(self, node: Node) -> Node | None:
        """Returns a tensor whose T places along its first axis were all written, each once, as their pack."""
        values: dict[int, Any] = {}
        rest: Any = node
        while isinstance(rest, Node) and rest.target == aten.select_scatter.default and rest.args[2] == 0:
            place: Any = rest.args[3]
            values.setdefault(place % self._steps, rest.args[1])
            rest = rest.args[0]
        if sorted(values) != list(range(self._steps)) or node.meta["val"].shape[0] != self._steps:
            return None
        pack = self._packer.pack(tuple(values[t] for t in range(self._steps)), gather=False)
        return None if pack is None or isinstance(pack, Uniform) else self.pack(pack)

    def _accumulated(self, node: Node) -> Node | None:
        """Returns `((z0 + z1) + z2) + ...` as one sum over T, and a running maximum in the same way."""
        if node.kwargs:
            return None
        terms: list[Any] = []
        rest: Any = node
        while isinstance(rest, Node) and rest.target == node.target and not rest.kwargs and len(terms) < self._steps:
            chain, other = rest.args[:2]
            if not isinstance(chain, Node) or (isinstance(other, Node) and other.target == node.target):
                chain, other = other, chain
            if chain is not rest.args[0] and not isinstance(chain, Node) and not isinstance(other, Node):
                return None
            terms.append(other)
            if rest is not node and len(rest.users) > 1:
                return None  # what is summed so far is read at every step: a membrane without leak or reset
            rest = chain
        for lanes, start in self._candidates(terms[::-1], rest):
            if not all(isinstance(lane, Node) for lane in lanes):
                continue
            pack = self._packer.pack(tuple(lanes), gather=False)
            if pack is None or isinstance(pack, Uniform):
                continue
            total = self._call(
                node,
                _SUMS[node.target],  # type: ignore[index]
                self.pack(pack),
                [0],
            )
            if start is None or (node.target == aten.add.Tensor and _is_zero(start)):
                return total
            given = self.value(start) if isinstance(start, Node) else start
            return self._call(node, node.target, total, given)
        return None

    def _candidates(self, terms: list[Any], rest: Any) -> Iterator[tuple[list[Any], Any]]:
        """Yields what the T terms of a chain may be, and what they are added to."""
        if len(terms) == self._steps:
            yield terms, rest
        if len(terms) >= self._steps - 1:
            yield [rest, *terms[-(self._steps - 1) :]], None
            first = terms[0] if len(terms) == self._steps else None
            if first is not None and _is_zero(rest):
                yield [first, *terms[1:]], None
            if first is not None and isinstance(rest, Node) and _is_zero(first):  # z0 + 0 is the first of the chain
                yield [rest, *terms[1:]], None

    def pack(self, pack: Pack) -> Node:
        """Returns the new node of a pack, `[T, ...]`."""
        if pack in self._packs:
            return self._packs[pack]
        if pack in self._open:
            raise CircularError(str(pack)[:80])
        self._open.add(pack)
        made = self._packs[pack] = self._pack(pack)
        self._open.discard(pack)
        return made

    def _pack(self, pack: Pack) -> Node:
        if isinstance(pack, Spikes):
            return self._call(pack.neuron.lanes[0], operator.getitem, self._neuron(pack.neuron), 0)
        if isinstance(pack, Sliced):
            whole = self.value(pack.source)
            like = pack.source
            first = whole if pack.axis == 0 else self._call(like, aten.movedim.int, whole, pack.axis, 0)
            if pack.short:
                first = self._late(like, self._call(like, aten.slice.Tensor, first, 0, 0, 1), first)
            return self._call(like, aten.unsqueeze.default, first, pack.axis + 1) if pack.keep else first
        if isinstance(pack, Gathered):
            return self._call(pack.lanes[0], aten.stack.default, [self.value(lane) for lane in pack.lanes])
        if isinstance(pack, Headed):
            head = self._call(pack.head, aten.unsqueeze.default, self.value(pack.head), 0)
            if isinstance(pack.rest, Sliced) and pack.rest.short and not pack.rest.keep and not pack.rest.axis:
                return self._late(pack.head, head, self.value(pack.rest.source))
            if isinstance(pack.rest, Headed):
                return self._late(pack.head, head, self._one_less_late(pack.rest))
            rest = self._call(pack.head, aten.slice.Tensor, self.pack(pack.rest), 0, 1, sys.maxsize)
            return self._call(pack.head, aten.cat.default, [head, rest])
        if isinstance(pack, Packed):
            return self._operation(pack)
        raise CircularError("a value that is the same at every step has no pack of its own")

    def _late(self, like: Node, head: Node, whole: Node) -> Node:
        """Returns a sequence one step later, with another first step.

        What later steps alone compute is computed of all T here, and its first left out: of T - 1 steps torch knows
        too little to compare them with T.
        """
        before = self._call(like, aten.slice.Tensor, whole, 0, 0, -1)
        return self._call(like, aten.cat.default, [head, before])

    def _one_less_late(self, pack: Headed | Sliced) -> Node:
        """Returns a sequence that comes so many steps later as a pack has heads, as T steps."""
        if isinstance(pack, Sliced):
            return self.value(pack.source)
        head = self._call(pack.head, aten.unsqueeze.default, self.value(pack.head), 0)
        return self._late(pack.head, head, self._one_less_late(pack.rest))  # type: ignore[arg-type]

    def _operation(self, pack: Packed) -> Node:
        flat, spec = tree_flatten((pack.args, pack.kwargs), is_leaf=lambda leaf: isinstance(leaf, Pack))
        places = tuple(at for at, leaf in enumerate(flat) if not isinstance(leaf, Uniform))
        values = [map_arg(leaf.value, self.value) if isinstance(leaf, Uniform) else self.pack(leaf) for leaf in flat]
        args, kwargs = torch.utils._pytree.tree_unflatten(values, spec)
        if pack.target is operator.getitem:
            return self._call(pack.lanes[0], operator.getitem, *args)
        return self._call(pack.lanes[0], batched, pack.target, places, args, kwargs)

    def _neuron(self, neuron: PackedNeuron) -> Node:
        if neuron in self._packs:
            return self._packs[neuron]
        if neuron in self._open:
            raise CircularError(neuron.lanes[0].name)
        self._open.add(neuron)
        first = neuron.lanes[0]
        if isinstance(neuron.current, Uniform):
            same = self.value(neuron.current.value)
            steps = [self._steps] + [-1] * neuron.current.value.meta["val"].dim()
            current = self._call(first, aten.expand.default, self._call(first, aten.unsqueeze.default, same, 0), steps)
        else:
            current = self.pack(neuron.current)
        tail = map_arg(neuron.tail, self.value)
        made = self._call(first, first.target, current, self.value(neuron.start), *tail)
        self._open.discard(neuron)
        self._packs[neuron] = made
        self.neurons.append((made, neuron.lanes))
        return made


def _is_zero(value: Any) -> bool:
    if isinstance(value, Node):
        return value.target in (aten.zeros.default, aten.zeros_like.default)
    return isinstance(value, int | float) and value == 0


@contextmanager
def _deep() -> Iterator[None]:
    """Allows recursion as deep as an unrolled graph is long."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
