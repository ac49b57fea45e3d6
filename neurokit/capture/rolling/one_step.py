"""One time step of a network whose loops carry values by hand: those values come in and go out as states."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from neurokit.capture.rolling.loop_call import LoopCall
from neurokit.capture.rolling.roll import Rolled
from neurokit.over_time import joined

aten = torch.ops.aten


@dataclass(frozen=True)
class Delay:
    """A sequence one step later: what a step reads is what the step before it was given, or made.

    Attributes:
        node: It.
        first: What it begins with, `[B, ...]`.
    """

    node: Node
    first: Node


@dataclass(frozen=True)
class Carried:
    """What a graph carries from step to step.

    Attributes:
        loops: Every loop, with the places of its carried values.
        delays: Every sequence that comes a step later.
        counts: Every sequence of the numbers of the steps, 0 to T - 1: one number more is carried for all of them.
    """

    loops: Mapping[Node, Sequence[int]]
    delays: Sequence[Delay]
    counts: Sequence[Node] = ()

    def __bool__(self) -> bool:
        """Returns whether there is anything."""
        return bool(self.delays) or bool(self.counts) or any(self.loops.values())


class OneCall:
    """A step of a loop, called as the loop is, on sequences of length one."""

    __name__ = "one_step_of_a_loop"

    def __init__(self, loop: LoopCall) -> None:
        self._loop = loop

    def __call__(self, first: Sequence[Tensor], sequences: Sequence[Tensor], others: Sequence[Any]) -> list[Tensor]:
        """Runs the step."""
        made = self._loop.step(first, [values[0] for values in sequences], others)
        count = self._loop.carried
        return [*made[:count], *(y.unsqueeze(0) for y in made[count:])]


class OneStep(Rolled):
    """Runs a network over time for one step: `(inputs [B, ...], states, carried) -> (outputs, states, carried)`.

    Args:
        owner: The module whose parameters the program names.
        program: The unrolled program.
        graph: Its graph over any number of steps; it is changed.
        inputs: Number of inputs.
        outputs: Number of outputs.
        carried: From `carried_values`.
    """

    def __init__(
        self,
        owner: nn.Module,
        program: ExportedProgram,
        graph: Graph,
        inputs: int,
        outputs: int,
        carried: Carried,
    ) -> None:
        names = _open(graph, carried)
        super().__init__(owner, program, graph)
        self._given |= set(names)
        self._inputs, self._outputs = inputs, outputs
        self.per_step = (False,) * outputs  # whether each output has a time axis

    def forward(self, x: Any, *rest: Tensor) -> tuple[Tensor, ...]:
        """Runs one step."""
        given = [*(x if isinstance(x, tuple | list) else (x,)), *rest]
        made = super().forward(tuple(value.unsqueeze(0) for value in given[: self._inputs]), *given[self._inputs :])
        outputs = [y.squeeze(0) if timed else y for y, timed in zip(made, self.per_step, strict=False)]
        return (*(y.clone() for y in outputs), *(state.clone() for state in made[self._outputs :]))


def carried_values(graph: Graph, given: Sequence[str]) -> Carried:
    """Returns what a graph over time carries from step to step and is no state of the program yet.

    Args:
        graph: A graph over any number of steps.
        given: Names of the program's inputs and states.
    """
    loops = [node for node in graph.nodes if isinstance(node.target, LoopCall)]
    places = {
        loop: tuple(at for at, first in enumerate(loop.args[0]) if str(first.target) not in given) for loop in loops
    }
    delays = tuple(delay for node in graph.nodes if (delay := _delay(node)) is not None)
    counts = tuple(user for steps in _lengths(graph) for user in steps.users if user.target == aten.arange.default)
    return Carried(places, delays, counts)


def reads_length(graph: Graph) -> bool:
    """Returns whether a graph over time computes with its number of steps, and not with their numbers alone."""
    readers = (user for steps in _lengths(graph) for user in steps.users if user.target != aten.arange.default)
    return any(steps in user.args for user in readers for steps in _lengths(graph))


def _lengths(graph: Graph) -> list[Node]:
    """Returns the nodes that are T: the size of an input's first axis."""
    sizes = (node for node in graph.nodes if node.target == aten.sym_size.int and node.args[1] == 0)
    return [node for node in sizes if node.args[0].op == "placeholder"]


def _delay(node: Node) -> Delay | None:
    """Returns a node as a sequence one step later, behind a first value, or None."""
    parts: Any = node.args[0] if node.target == aten.cat.default and not node.args[1:] else ()
    if len(parts) != 2 or parts[0].target != aten.unsqueeze.default or parts[0].args[1] != 0:
        return None
    late = parts[1].target == aten.slice.Tensor and tuple(parts[1].args[1:]) == (0, 0, -1)
    return Delay(node, parts[0].args[0]) if late else None


def first_values(values: Mapping[Node, Any], carried: Carried) -> list[Tensor]:
    """Returns what every carried value is before the first step, from a run of the graph."""
    of_loops = [values[loop.args[0][at]] for loop, places in carried.loops.items() for at in places]  # type: ignore[index]
    return [*of_loops, *(values[delay.first] for delay in carried.delays)]


def _open(graph: Graph, carried: Carried) -> list[str]:
    """Gives every carried value a placeholder and an output, in place; returns the placeholders' names."""
    names: list[str] = []
    outputs: list[Node] = []

    def state() -> Node:
        last = [node for node in graph.nodes if node.op == "placeholder"][-1]
        with graph.inserting_after(last):
            made = graph.placeholder(f"carried_{len(names)}")
        names.append(made.name)
        return made

    for loop, places in carried.loops.items():
        firsts = list(loop.args[0])  # type: ignore[arg-type]
        for at in places:
            firsts[at] = state()
            with graph.inserting_after(loop):
                outputs.append(graph.call_function(operator.getitem, (loop, at)))
        loop.args = (firsts, *loop.args[1:])
        loop.target = OneCall(loop.target)  # type: ignore[arg-type]
    for delay in carried.delays:
        held = state()
        late: Any = delay.node.args[0][1]  # type: ignore[index]  # of a sequence that comes late itself, as it is by now
        with graph.inserting_before(delay.node):
            before = graph.call_function(aten.unsqueeze.default, (held, 0))
            outputs.append(graph.call_function(aten.select.int, (late.args[0], 0, -1)))
        delay.node.replace_all_uses_with(before)
    if carried.counts:
        held = state()  # of every sample the same: they begin together
        with graph.inserting_before(carried.counts[0]):
            outputs.append(graph.call_function(aten.add.Tensor, (held, 1)))
            number = graph.call_function(
                aten.unsqueeze.default, (graph.call_function(aten.select.int, (held, 0, 0)), 0)
            )
        for node in carried.counts:
            node.replace_all_uses_with(number)
    end = next(node for node in graph.nodes if node.op == "output")
    made: Any = end.args[0]
    end.args = ((*made, *outputs),)
    graph.eliminate_dead_code()
    return names


def together(runs: Sequence[tuple[Sequence[Sequence[Tensor]], Sequence[Tensor]]], preferred: Sequence[str] = ()) -> str:
    """Returns what the outputs of whole runs are of those of their steps (`neurokit.over_time`), or "".

    Args:
        runs: The outputs of every step, and those of the whole run, of several runs: one may fit by chance.
        preferred: For each output the word that is taken if it fits: a largest value so far is also the last one.
    """
    ways = {
        "sequence": lambda y: y.squeeze(1),
        "mean": lambda y: y.mean(0) if y.is_floating_point() else y.double().mean(0),
        "sum": lambda y: y.sum(0),
        "last": lambda y: y[-1],
        "max": lambda y: y.amax(0),
    }
    fits: list[set[str]] = []
    for outputs, whole in runs:
        stacked = [torch.stack(values) for values in zip(*outputs, strict=True)]
        found = [
            {name for name, way in ways.items() if _close(way(steps), all_steps)}
            for steps, all_steps in zip(stacked, whole, strict=True)
        ]
        fits = [a & b for a, b in zip(fits, found, strict=True)] if fits else found
    first = preferred or [""] * len(fits)
    kinds = [next((n for n in (own, *ways) if n in names), "") for own, names in zip(first, fits, strict=True)]
    return joined(kinds) if all(kinds) else ""


def _close(a: Tensor, b: Tensor) -> bool:
    alike = a.shape == b.shape and a.dtype == b.dtype  # a chosen class is a whole number, and its mean is none
    return alike and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)
