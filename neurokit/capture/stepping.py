"""The single step of a layer of rare neurons, as a program in plain operations: what targets write and run."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from neurokit.capture.asked_once import asked_once
from neurokit.capture.masked_parts import MaskedParts
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.neurons.ops import is_neuron
from neurokit.neurons.stepwise import STEPWISE, Step, step_of
from neurokit.program.nodes import ancestors, hints, is_op
from neurokit.serial import one_at_a_time


class _OneStep(nn.Module):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self.cell, self._step = step.module, step

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y, *new = self._step(x, *states)
        # A program may not hand out what it was given.
        return (y, *(value.clone() for value in new))


def stepwise_nodes(program: ExportedProgram) -> list[Node]:
    """Returns the layers of rare neurons of a program, in order."""
    return [node for node in program.graph.nodes if is_op(node, {STEPWISE})]


def layer_names(program: ExportedProgram, calls: Sequence[str]) -> tuple[str, ...]:
    """Returns the layer of every neuron node, common and rare, in order.

    Calls of one rare neuron whose states go on from one to the next are one layer over time, as those of a common one
    are (`neurokit.capture.tracing.named_calls`).

    Args:
        program: A captured program.
        calls: The layers of its common neurons, in order (`Captured.calls`).
    """
    common, names = iter(calls), []
    last: dict[str, Node] = {}
    starts: dict[str, int] = {}
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        if is_neuron(node.target):
            names.append(next(common))
        elif is_op(node, {STEPWISE}):
            path = step_of(str(node.args[2])).path
            if not _goes_on(node, last.get(path)):
                starts[path] = starts.get(path, 0) + 1
            last[path] = node
            names.append(path if starts[path] == 1 else f"{path}@{starts[path]}")
    return tuple(names)


def unread_layers(program: ExportedProgram, calls: Sequence[str], count: int) -> tuple[str, ...]:
    """Returns the layers that no output depends on: a form that hands out no states may leave them away.

    Args:
        program: A captured program.
        calls: The layers of its common neurons, in order (`Captured.calls`).
        count: How many of its results are outputs; states are behind them.
    """
    nodes = list(program.graph.nodes)
    neurons = [n for n in nodes if n.op == "call_function" and (is_neuron(n.target) or is_op(n, {STEPWISE}))]
    results: Any = next(node for node in nodes if node.op == "output").args[0]
    seen = ancestors(value for value in results[:count] if isinstance(value, Node))
    names = layer_names(program, calls)
    read = {name for name, node in zip(names, neurons, strict=True) if node in seen}
    return tuple(dict.fromkeys(name for name in names if name not in read))


def _goes_on(node: Node, before: Node | None) -> bool:
    """Whether a call starts from the states that the call before it ended with."""
    given: Any = node.args[1]
    return before is not None and all(
        value.target is operator.getitem and value.args == (before, index + 1) for index, value in enumerate(given)
    )


@one_at_a_time
def step_program(node: Node) -> ExportedProgram:
    """Returns the step of one layer: `(x [B, ...], *states) -> (output, *states)`, in core operations of ATen.

    Args:
        node: The layer's node in a captured program; a size that is free there is free here.

    Raises:
        UnsupportedError: If the step's control flow depends on values.
    """
    source: Any = node.args[0]
    states: Any = node.args[1]
    step = step_of(str(node.args[2]))
    given, dims = [], []
    for value, lead in ((source, 1), *((state, 0) for state in states)):
        shape = hints(value)[lead:]
        given.append(torch.zeros(shape, dtype=value.meta["val"].dtype))
        sizes = value.meta["val"].shape[lead:]
        dims.append({axis: Dim.DYNAMIC for axis, size in enumerate(sizes) if not isinstance(size, int)})
    try:
        with torch.no_grad(), MaskedParts(), asked_once():
            program = torch.export.export(
                _OneStep(step), tuple(given), dynamic_shapes=(dims[0], tuple(dims[1:])), strict=False
            )
            return program.run_decompositions()
    except Exception as error:
        why = f"its step cannot be traced: {str(error).strip().splitlines()[0][:160]}"
        kind = type(step.module).__name__
        reason = Unsupported(step.path, kind, why, "use the onnx target with a number of time steps")
        raise UnsupportedError(f"neuron {step.path!r} has no single-step form", [reason]) from error
