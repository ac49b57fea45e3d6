"""The step form of a network that carries state by hand, in variables of its forward."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from neurokit.capture.drawing import random_values
from neurokit.capture.obstacles import LaterStepsError
from neurokit.capture.ports import input_ports
from neurokit.capture.probe import Probe, example_values, symbolic_sizes
from neurokit.capture.rolling.batched import batched
from neurokit.capture.rolling.free import LENGTHS
from neurokit.capture.rolling.one_step import OneStep, carried_values, first_values, reads_length, together
from neurokit.capture.rolling.roll import Rolled
from neurokit.capture.starts import numbers
from neurokit.capture.tracing import FreeGraph, Job, free_graph, program_of
from neurokit.capture.twin import Twin
from neurokit.capture.types import PortInfo, StateInfo, initial_state, with_batch
from neurokit.errors import NeurokitError
from neurokit.over_time import of_each
from neurokit.program.ops import Kind, kind_of, names_of
from neurokit.spec import ModelSpec

_COUNT = "step_number"
_STEPS = 5  # of the comparison of a whole run with its steps
# Samples and spread of the runs: of the input's own range, and of both signs, where a largest step is not the last.
_TRIALS = ((2, None), (3, None), (2, 1.0), (2, 10.0))
NOT_ALIKE = (
    "its forward carries values from step to step by hand, and its steps are not all alike over any T (one reads "
    "another step, or what is made before the loop)"
)


@dataclass(frozen=True)
class HandStep:
    """One step with what it carries.

    Attributes:
        program: The program: inputs, states of neurons, carried values.
        paths: Module path of everything stateful in it, in order.
        states: Every carried value.
        time_output: What the outputs of a whole run are of those of its steps.
    """

    program: ExportedProgram
    paths: list[str]
    states: tuple[StateInfo, ...]
    time_output: str


def hand_step(twin: Twin, spec: ModelSpec, batch: Any, found: Probe) -> HandStep | str:
    """Returns the single step of a network with state by hand, or why it has no such form, "" if it is not looked at.

    Args:
        twin: The twin, whose states are named.
        spec: What it is a twin of.
        batch: The batch size, or "dynamic".
        found: The states of its neurons.
    """
    if spec.time_input != "sequence" or spec.states:
        return ""
    # Its batch is free here, whatever the step's is: what a step carries is seen by runs of several sizes.
    inputs = input_ports(spec, "dynamic", "dynamic", "sequence")
    given = (*example_values(spec, LENGTHS[0], 2), *_neuron_states(found.states, 2))
    over_steps: tuple[PortInfo | StateInfo, ...] = (*inputs, *found.states)
    job = Job(twin, spec, "dynamic", given, over_steps, False)
    try:
        free = free_graph(job)
    except LaterStepsError as error:
        return error.why
    except NeurokitError:
        return NOT_ALIKE
    if free.counted and reads_length(free.graph):
        return "a number in its steps depends on how many steps there are, which one step does not know"
    carried = carried_values(free.graph, free.program.graph_signature.user_inputs)
    names, ends = twin.signature.output_names, list(next(n for n in free.graph.nodes if n.op == "output").args[0])
    if not carried:
        return next(
            (_unlike_steps(*each) for *each, kind in zip(names, ends, twin.kinds(), strict=False) if kind == "auto"), ""
        )
    try:
        runs = [_run(twin, spec, found, free, *trial) for trial in _TRIALS]
    except Exception:  # what torch's scan says of a loop that it does not run
        return NOT_ALIKE
    states = _carried_states([first_values(values, carried) for values, _ in runs[:3]])
    if isinstance(states, str):
        return f"its forward carries values from step to step by hand, and {states}"
    if carried.counts:
        states = (*states, StateInfo(_COUNT, "", _COUNT, symbolic_sizes((2,), (3,)), "int64", 0))
    outputs = len(twin.signature.output_names)
    step = OneStep(twin, free.program, free.graph, len(spec.inputs), outputs, carried)
    tried = [(given, [v for v in values.values() if v is not None][-1][:outputs]) for values, given in runs]
    compared = [(_in_steps(step, found, states, given), whole) for given, whole in tried]
    over_time = together(compared, twin.kinds())
    if not over_time:
        alone = (
            together([([s[at : at + 1] for s in y], w[at : at + 1]) for y, w in compared]) for at in range(outputs)
        )
        return next(_unlike_steps(*each) for *each, word in zip(names, ends, alone, strict=False) if not word)
    step.per_step = tuple(kind == "sequence" for kind in of_each(over_time, outputs))
    kept = with_batch((*found.states, *states), batch)
    ports: tuple[PortInfo | StateInfo, ...] = (*input_ports(spec, None, batch, "step"), *kept)
    size = batch if isinstance(batch, int) else 2
    example = (*example_values(spec, None, size), *_neuron_states(found.states, size), *_neuron_states(states, size))
    program = program_of(step, Job(twin, spec, None, example, ports, True))
    return HandStep(program, free.paths, states, over_time)


def _unlike_steps(name: str, end: Node) -> str:
    """Returns what is said of an output that is no word for its steps."""
    what = f"output {name!r}, made by {_made_by(end)}, is"
    return f"{what} neither one per step nor the mean, sum, last or maximum of the steps"


def _made_by(node: Node) -> str:
    """Returns the name of the operation that makes a value, behind moves and picks."""
    while node.all_input_nodes:
        target: Any = node.args[0] if node.target is batched else node.target
        if target is not operator.getitem and kind_of(target) not in (Kind.MOVE, Kind.KEEP):
            return names_of(target)[1].strip("_")
        node = node.all_input_nodes[0]
    return str(node.name)


def _neuron_states(states: Sequence[StateInfo], batch: int) -> list[Tensor]:
    return [initial_state(state, batch, {}) for state in states]


def _run(
    twin: Twin, spec: ModelSpec, found: Probe, free: FreeGraph, batch: int, spread: float | None
) -> tuple[Any, list[Tensor]]:
    """Runs the network over time on random numbers; returns what every node gave, and the inputs."""
    generator = torch.Generator().manual_seed(0)
    given = []
    for port, like in zip(spec.inputs, example_values(spec, _STEPS, batch), strict=True):
        value = random_values(port, like, spread, generator)
        given.append(value.to(like.dtype))
    run = Rolled(twin, free.program, free.graph)
    return run.values(tuple(given), *_neuron_states(found.states, batch)), given


def _carried_states(runs: Sequence[Sequence[Tensor]]) -> tuple[StateInfo, ...] | str:
    """Returns carried values as states, or why one is none."""
    states = []
    for number, (small, large, other) in enumerate(zip(*runs, strict=True)):
        shape = symbolic_sizes(tuple(small.shape), tuple(large.shape))
        alike = torch.equal(small, other) and bool((small == small[:1]).all()) and torch.equal(small[:1], large[:1])
        if not shape or isinstance(shape[0], int):
            return "one of them has no axis for the batch where it starts"
        if not alike:
            return "its first step is not like the others, so that what they carry starts from what the input is"
        dtype = str(small.dtype).removeprefix("torch.")
        name = f"carried_{number}"
        states.append(StateInfo(name, "", name, shape, dtype, numbers(small[0])))
    return tuple(states)


def _in_steps(
    step: OneStep, found: Probe, states: Sequence[StateInfo], given: list[Tensor]
) -> list[tuple[Tensor, ...]]:
    """Runs the steps one by one, each from the states of the one before; returns the outputs of every step."""
    batch = given[0].shape[1]
    held: Sequence[Tensor] = [*_neuron_states(found.states, batch), *_neuron_states(states, batch)]
    count, steps = len(step.per_step), []
    with torch.no_grad():
        for t in range(_STEPS):
            made = step(tuple(x[t] for x in given), *held)
            steps.append(made[:count])
            held = made[count:]
    return steps
