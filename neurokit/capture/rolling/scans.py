"""Writes a loop whose steps read what the step before made as one scan over time."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from neurokit.capture.rolling.bodies import Bodies, find_bodies, outside_users
from neurokit.capture.rolling.loop_call import LoopCall
from neurokit.capture.rolling.unrolled import computed_once, every_result, ordered, written_at_once
from neurokit.neurons.ops import decompositions

aten = torch.ops.aten


def with_scans(
    graph: Graph, values: Mapping[Node, Any], steps: int, left_out: int = 0, own_steps: bool = False
) -> Graph:
    """Replaces every loop of an unrolled graph by a scan, in place.

    Args:
        graph: The graph.
        values: What every node gave in a run on random numbers.
        steps: Number of steps T.
        left_out: Up to how many steps fewer a loop may have, as one over the differences of steps has.
        own_steps: Whether nodes are of the step that their line tells (`own_steps`).
    """
    known = dict(values)
    known |= {made: known[node] for node, made in written_at_once(graph, steps).items() if node in known}
    computed_once(graph)
    every_result(graph, known)
    for count in range(steps, steps - left_out - 1, -1):
        for _ in range(len(graph.nodes)):
            shapes = {node: tuple(value.shape) for node, value in known.items() if isinstance(value, Tensor)}
            bodies = find_bodies(graph, shapes, count, own_steps)
            if bodies is None:
                break
            _Writer(graph, bodies, known, shapes).run()
            graph = ordered(graph, known)
    return graph


class _Writer:
    """Writes one loop of a graph as a scan."""

    def __init__(
        self, graph: Graph, bodies: Bodies, values: dict[Node, Any], shapes: Mapping[Node, tuple[int, ...]]
    ) -> None:
        self._graph, self._bodies, self._values, self._shapes = graph, bodies, values, shapes
        self._start = bodies.first  # the first step that the scan runs
        self._first_outputs: dict[int, Tensor] = {}  # what it gives there, by class, where that is not a copy
        self._class = {node: at for at, node in enumerate(bodies.nodes[1])}
        self._before = {node: at for at, node in enumerate(bodies.nodes[0])}
        self._body = Graph()
        self._carried: dict[tuple[int, Node], Node] = {}  # class and first value -> placeholder
        self._given: dict[tuple[Node, int], Node] = {}  # sequence and how much later its step is -> placeholder
        self._others: dict[Node, Node] = {}

    def run(self) -> None:
        """Writes the scan and lets everything outside read it."""
        used = list(outside_users(self._bodies))
        for node in self._bodies.template:
            self._note_carried(node)
        copies = {at: {copy for _, copy, each in used if each == at} for _, _, at in used}
        kept, end = {at: place for place, (at, _) in enumerate(self._carried)}, len(self._bodies.nodes) - 1
        finals = [at for at in copies if copies[at] == {end} and at in kept]
        outputs = sorted(set(copies) - set(finals))
        loop = LoopCall(self._step(outputs), len(self._carried))
        firsts = [self._of_shape(first, self._bodies.template[at]) for at, first in self._carried]
        if self._start and self._from_zero(loop, outputs):
            self._start = 0
            firsts = [self._zeros(first) for first in firsts]
        sequences = [self._sequence(source, offset) for source, offset in self._given]
        last = next(node for node in reversed(self._bodies.nodes[-1]) if node is not None)
        with self._graph.inserting_before(last):
            call = self._graph.call_function(loop, (firsts, sequences, list(self._others)))
            ys = {at: self._item(call, len(self._carried) + place) for place, at in enumerate(outputs)}
            last_values = {at: self._item(call, kept[at]) for at in finals}
        own = {node for nodes in self._bodies.nodes for node in nodes if node is not None}
        for node, _, at in used:
            if at in last_values:
                self._values[last_values[at]] = self._values[node]
                for user in [user for user in node.users if user not in own]:
                    user.replace_input_with(node, last_values[at])
        self._connect([use for use in used if use[2] in ys], ys)

    def _from_zero(self, loop: LoopCall, outputs: Sequence[int]) -> bool:
        """Returns whether the first step, which is written otherwise, is the others' with zeros carried into it."""
        values = self._values
        try:
            firsts = [values[first] for _, first in self._carried]
            given = [values[source][offset] for source, offset in self._given if offset >= 0]
            if len(given) != len(self._given):
                return False
            made = loop.step([torch.zeros_like(v) for v in firsts], given, [values[other] for other in self._others])
        except (KeyError, TypeError, RuntimeError, IndexError):
            return False
        self._first_outputs = dict(zip(outputs, made[len(firsts) :], strict=True))
        return all(_close(a, b) for a, b in zip(made, firsts, strict=False))

    def _of_shape(self, first: Node, like: Node) -> Node:
        """Returns a first value in the shape that is carried on: `u = 0.0` before a loop has one element."""
        shape, value = self._shapes.get(like), self._values.get(first)
        if shape is None or not isinstance(value, Tensor) or tuple(value.shape) == shape:
            return first
        zeros = self._zeros(like)
        with self._graph.inserting_after(zeros):
            made = self._graph.call_function(aten.add.Tensor, (zeros, first))
        self._values[made] = value.expand(shape)
        return made

    def _zeros(self, like: Node) -> Node:
        """Returns zeros of a node's shape, which are not made of it where its sizes are known."""
        source = next((node for node in self._graph.nodes if node.op == "placeholder" and _free_batch(node)), None)
        value = like.meta.get("val")
        call = self._graph.call_function
        with self._graph.inserting_after(like):
            if source is None or not isinstance(value, Tensor):
                return call(aten.zeros_like.default, (like,))
            batch = source.meta["val"].shape[1]
            if any(not isinstance(size, int) and size.node.expr != batch.node.expr for size in value.shape):
                return call(aten.zeros_like.default, (like,))
            many = call(aten.sym_size.int, (source, 1))
            sizes = [size if isinstance(size, int) else many for size in value.shape]
            with self._graph.inserting_after(many):
                return call(aten.zeros.default, (sizes,), {"dtype": value.dtype})

    def _step(self, outputs: Sequence[int]) -> Graph:
        """Returns one step as a graph of its own."""
        template = self._bodies.template
        sources = [source for node in template for source in node.all_input_nodes if source not in self._class]
        for source in sources:
            lane = self._bodies.lanes.get(source)
            if lane is not None:
                self._given.setdefault((lane.source, lane.step - self._bodies.first - 1), source)
        for source in sources:
            if source not in self._before and source not in self._bodies.lanes:
                self._others.setdefault(source, source)
        sizes = {source: place for source in self._others if (place := self._size_inside(source)) is not None}
        self._others = {source: source for source in self._others if source not in sizes}
        body, made = self._body, dict[Any, Node]()
        for kind, group in (("carried", self._carried), ("given", self._given), ("other", self._others)):
            for number, key in enumerate(group):
                made[key] = body.placeholder(f"{kind}_{number}")
        for source, (key, axis) in sizes.items():
            made[source] = body.call_function(aten.sym_size.int, (made[key], axis))
        inner: dict[Node, Node] = {}
        for number, node in enumerate(template):
            read = partial(self._inside, node=node, made=made, inner=inner)
            args, kwargs = map_arg(node.args, read), map_arg(node.kwargs, read)
            target: Any = decompositions().get(node.target, node.target)
            inner[node] = body.create_node("call_function", target, args, kwargs, name=f"step_{number}")
        carried = [inner[template[at]] for at, _ in self._carried]
        body.output((*carried, *(inner[template[at]] for at in outputs)))
        return body

    def _size_inside(self, source: Node) -> tuple[Any, int] | None:
        """Returns which value of a step, by its key, has a size that is read outside of the loop, and in which axis.

        torch takes no free size into a scan where an operation has it in a list.
        """
        if source.target != aten.sym_size.int:
            return None
        wanted = _expression(source.meta.get("val"))
        carried = [((at, first), self._bodies.template[at], 0) for at, first in self._carried]
        for key, node, skipped in (*carried, *((key, key[0], 1) for key in self._given)):
            value = node.meta.get("val")
            sizes = value.shape[skipped:] if isinstance(value, Tensor) else ()
            for axis, size in enumerate(sizes):
                if wanted is not None and _expression(size) == wanted:
                    return key, axis
        return None

    def _note_carried(self, node: Node) -> None:
        """Notes what a node reads of the step before, with what its copy in the first step reads there."""
        first: Any = self._bodies.nodes[0][self._class[node]]
        pairs = zip(
            torch.utils._pytree.tree_leaves((node.args, node.kwargs)),
            torch.utils._pytree.tree_leaves((first.args, first.kwargs)),
            strict=True,
        )
        for mine, its in pairs:
            if isinstance(mine, Node) and mine in self._before:
                self._carried.setdefault((self._before[mine], its), mine)

    def _inside(self, source: Node, node: Node, made: Mapping[Any, Node], inner: Mapping[Node, Node]) -> Node:
        if source in inner:
            return inner[source]
        lane = self._bodies.lanes.get(source)
        if lane is not None:
            one = made[lane.source, lane.step - self._bodies.first - 1]
            return self._body.call_function(aten.unsqueeze.default, (one, 0)) if lane.keep else one
        if source not in self._before:
            return made[source]
        first: Any = self._bodies.nodes[0][self._class[node]]
        mine = torch.utils._pytree.tree_leaves((node.args, node.kwargs))
        its = torch.utils._pytree.tree_leaves((first.args, first.kwargs))
        return made[self._before[source], its[mine.index(source)]]

    def _sequence(self, source: Node, offset: int) -> Node:
        """Returns the steps of a sequence that the copies read."""
        start = self._start + offset
        if start == 0 and offset == 0:
            return source
        with self._graph.inserting_after(source):
            end = sys.maxsize if offset == 0 else offset
            return self._graph.call_function(aten.slice.Tensor, (source, 0, start, end))

    def _item(self, call: Node, place: int) -> Node:
        return self._graph.call_function(operator.getitem, (call, place))

    def _connect(self, used: Sequence[tuple[Node, int, int]], ys: Mapping[int, Node]) -> None:
        """Lets what reads steps of the loop read its outputs: all of them at once where it joins them."""
        own = {node for nodes in self._bodies.nodes for node in nodes if node is not None}
        for node in list(self._graph.nodes):
            if node not in own and node.target in (aten.stack.default, aten.cat.default):
                self._joined(node, ys)
        for node, copy, at in used:
            users = [user for user in node.users if user not in own]
            if not users:
                continue
            place = -1 if copy == len(self._bodies.nodes) - 1 else copy + self._bodies.first - self._start
            with self._graph.inserting_after(ys[at]):
                one = self._graph.call_function(aten.select.int, (ys[at], 0, place))
            self._values[one] = self._values.get(node)
            for user in users:
                user.replace_input_with(node, one)
        for at, y in ys.items():
            copies = [self._values.get(nodes[at]) for nodes in self._bodies.nodes if nodes[at] is not None]  # type: ignore[arg-type]
            steps = self._bodies.steps - self._start
            self._values[y] = torch.zeros((steps, *self._shapes[self._bodies.template[at]]))
            if len(copies) == len(self._bodies.nodes) and all(isinstance(v, Tensor) for v in copies):
                head = [self._first_outputs[at]] if self._start < self._bodies.first else []
                self._values[y] = torch.stack([*head, *copies])  # type: ignore[list-item]

    def _joined(self, node: Node, ys: Mapping[int, Node]) -> None:
        """Replaces a stack, or a joining along the first axis, of all steps of one class."""
        parts: Any = node.args[0]
        axis: Any = node.args[1] if len(node.args) > 1 else 0
        first, copies = self._bodies.first, self._bodies.nodes
        places = [self._bodies.place(part) for part in parts]
        if self._begins_outside(node, places, ys):
            return
        late = len(parts) == len(copies) < self._bodies.steps  # what a loop over `range(1, T)` made
        ran = places if late else places[first:]
        whole = late or len(parts) == self._bodies.steps
        whole = whole and None not in ran and all(p[0] == k for k, p in enumerate(ran))  # type: ignore[index]
        classes = {p[1] for p in ran if p is not None}
        joins = node.target == aten.cat.default
        if not whole or len(classes) != 1 or len(copies) != len(ran) or (joins and axis != 0):
            return
        at = classes.pop()
        if late:
            self._replace_joined(node, self._later(ys[at]), None)
            return
        inside = self._start < first and _close(self._first_outputs[at], self._values[parts[0]])
        if self._start < first and not inside:
            return
        self._replace_joined(node, ys[at], parts[0] if self._start else None)

    def _later(self, y: Node) -> Node:
        """Returns an output of the loop without the steps that it runs and the unrolled graph does not."""
        if self._start == self._bodies.first:
            return y
        with self._graph.inserting_after(y):
            return self._graph.call_function(aten.slice.Tensor, (y, 0, 1, sys.maxsize))

    def _begins_outside(self, node: Node, places: Sequence[tuple[int, int] | None], ys: Mapping[int, Node]) -> bool:
        """Replaces a stack of what every step made for the next one, the first of which is made before the loop.

        Some cells (norse's LSNN) fire on the current of the step before.
        """
        parts: Any = node.args[0]
        axis: Any = node.args[1] if len(node.args) > 1 else 0
        known = [place for place in places[1:] if place is not None]
        late = len(places) == self._bodies.steps == len(known) + 1 and places[0] is None
        late = late and not self._bodies.first and all(place[0] == k for k, place in enumerate(known))
        if not late or len({at for _, at in known}) != 1 or (node.target == aten.cat.default and axis != 0):
            return False
        with self._graph.inserting_before(node):
            made = self._graph.call_function(aten.slice.Tensor, (ys[known[0][1]], 0, 0, -1))
        self._replace_joined(node, made, parts[0])
        return True

    def _replace_joined(self, node: Node, made: Node, head: Node | None) -> None:
        """Replaces a stack or a joining of steps by outputs of the loop, with a first step before them or without."""
        axis: Any = node.args[1] if len(node.args) > 1 else 0
        with self._graph.inserting_before(node):
            call = self._graph.call_function
            if head is not None:
                made = call(aten.cat.default, ([call(aten.unsqueeze.default, (head, 0)), made],))
            if node.target == aten.cat.default:
                made = call(aten.flatten.using_ints, (made, 0, 1))
            elif axis % len(self._shapes[node]):
                made = call(aten.movedim.int, (made, 0, axis % len(self._shapes[node])))
        self._values[made] = self._values[node]
        node.replace_all_uses_with(made)
        node.args = ([], *node.args[1:])


def _close(a: Tensor, b: Any) -> bool:
    return isinstance(b, Tensor) and a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def _expression(size: Any) -> Any:
    """Returns a free size as its expression, or None for a number."""
    return None if isinstance(size, int) or size is None else size.node.expr


def _free_batch(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dim() > 1 and not isinstance(value.shape[1], int)
