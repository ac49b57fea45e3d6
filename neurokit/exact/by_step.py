"""Networks whose forward carries values in variables: their single step is planned, and the sequence is steps in a row.

Unrolled, such a network holds every layer once a step. One plan for the step alone gives all of them one grid, so that
the sequence, the stream and the board have the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.capture import Captured
from neurokit.capture.rolling.roll import Rolled, rolled_graph
from neurokit.capture.tracing import named_calls
from neurokit.capture.types import StateInfo
from neurokit.errors import UnsupportedError
from neurokit.exact.rewrite import traced_as
from neurokit.program.nodes import aten
from neurokit.program.ops import LOOK_UPS, is_named
from neurokit.program.passes import TRACED, apply
from neurokit.program.walk import without_guards

_PICKS = frozenset({"select", "slice", "unbind", "split", "split_with_sizes", "chunk", "getitem"})


def single_step(captured: Captured) -> Captured | None:
    """Returns the step form of a model whose forward carries a value from step to step in a variable, else None.

    None as well where a neuron of the sequence is plain operations in the step, and where a step reads a table by its
    number: the sequence then shows more, of the table a row a step.
    """
    if not isinstance(captured.known_steps, int):
        return None
    if captured.form != "step" and not any(map(_reads_a_step, captured.program.graph.nodes)):
        return None
    try:
        step, whole = (captured.retrace(form=form, time_steps=captured.known_steps) for form in ("step", "sequence"))
    except UnsupportedError:
        return None
    if reads_by_number(step):
        return None
    return step if carried(step) and set(step.calls) == set(whole.calls) else None


def reads_by_number(captured: Captured) -> bool:
    """Whether a step keeps a whole number, as that of the step, and takes elements from places."""
    whole = any(state.dtype.startswith("int") for state in carried(captured))
    return whole and any(map(_looks_up, captured.program.graph.nodes))


def _looks_up(node: Node) -> bool:
    """Returns whether a node takes elements from places that another tensor holds."""
    return is_named(node, LOOK_UPS)


def carried(captured: Captured) -> tuple[StateInfo, ...]:
    """Returns the states that are no neuron's and that the model does not declare."""
    declared = {state.name for state in captured.spec.states}
    return tuple(state for state in captured.states if not state.neuron and state.name not in declared)


def _reads_a_step(node: Node) -> bool:
    """Returns whether a node takes one step of a sequence."""
    if not is_named(node, _PICKS) or not isinstance(node.args[0], Node):
        return False
    value = node.args[0].meta.get("val")
    return isinstance(value, Tensor) and value.dim() > 1 and (len(node.args) < 2 or node.args[1] in (0, 1))


class _InARow(nn.Module):
    """Runs a step program once a step.

    Args:
        step: The captured step.
        kept: Places, among its states, of those that the sequence takes and gives.
    """

    def __init__(self, step: Captured, kept: Sequence[int], steps: int) -> None:
        super().__init__()
        self.step: Any = _without_copies(without_guards(step.program.module()))
        self.first = nn.Module()
        self._states, self._kept, self._steps = step.states, tuple(kept), steps
        self._kinds, self._inputs = step.output_kinds, len(step.inputs)
        for at, state in enumerate(step.states):
            if at not in kept:
                self.first.register_buffer(f"of_{at}", torch.as_tensor(state.start()).to(getattr(torch, state.dtype)))

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Takes inputs `[T, B, ...]` and membranes; returns outputs and membranes."""
        xs, membranes = given[: self._inputs], iter(given[self._inputs :])
        held = [
            next(membranes) if at in self._kept else self._first(at, xs[0].shape[1]) for at in range(len(self._states))
        ]
        made: list[Any] = []
        for t in range(self._steps):
            values = self.step(*(x[t] for x in xs), *held)
            made.append(values[: len(self._kinds)])
            held = list(values[len(self._kinds) :])
        together = zip(zip(*made, strict=True), self._kinds, strict=True)
        outputs = [_over_time(list(steps), kind) for steps, kind in together]
        return (*outputs, *(held[at] for at in self._kept))

    def _first(self, at: int, batch: int) -> Tensor:
        value: Tensor = getattr(self.first, f"of_{at}")
        return value.expand(self._states[at].concrete(batch))


def _without_copies(module: GraphModule) -> GraphModule:
    """Lets a step hand its states on as they are: what is copied in between is not seen to be the same membrane."""
    for node in list(module.graph.nodes):
        if node.target is aten.clone.default:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    module.recompile()
    return module


def _over_time(steps: list[Tensor], kind: str) -> Tensor:
    """Returns what an output of a whole run is of those of its steps."""
    if kind == "last":
        return steps[-1].clone()
    y = torch.stack(steps)
    return {"mean": lambda: y.mean(0), "sum": lambda: y.sum(0), "max": lambda: y.amax(0)}.get(kind, lambda: y)()


def in_a_row(step: Captured, sequence: Captured) -> Captured:
    """Returns the sequence form of a model from its exact step.

    Args:
        step: The exact step.
        sequence: The sequence form in float numerics, of a number of steps.
    """
    steps = sequence.known_steps
    assert isinstance(steps, int)
    taken = {state.name for state in sequence.states}
    kept = [at for at, state in enumerate(step.states) if state.name in taken]
    owner = _InARow(step, kept, steps)
    program = traced_as(owner, sequence.program, "given")
    paths = [call.partition("@")[0] for call in step.calls] * steps
    rolled = rolled_graph(program, paths, steps)
    if rolled is not None:
        graph, paths = rolled
        program = traced_as(Rolled(owner, program, graph), sequence.program, "x", "rest")
    apply(program, *TRACED)
    calls = named_calls(program, paths)
    counted = tuple(replace(n, calls=calls.count(n.path) or n.calls) for n in step.neurons)
    known = {state.name: state for state in step.states}
    states = tuple(known.get(state.name, state) for state in sequence.states)
    return replace(sequence, program=program, calls=calls, neurons=counted, states=states, time_output=step.time_output)
