"""The sides that are held against a user's module: the program, its twin at once, and its twin step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from neurokit.capture.eager import Run
from neurokit.capture.probe import input_shape, set_time_steps
from neurokit.capture.reference import example_input, record
from neurokit.capture.slabs import in_slabs
from neurokit.capture.twin import Twin, over_time
from neurokit.capture.types import Captured
from neurokit.dims import names_in
from neurokit.errors import NeurokitError
from neurokit.program.readable import called, readable
from neurokit.program.walk import copied
from neurokit.spec import ModelSpec

_SEED = 20  # test vectors and calibration draw from 0


def comparable(spec: ModelSpec) -> bool:
    """Returns whether a model is one graph with one input of fixed sizes and without states that it declares."""
    whole = not spec.graphs and not spec.states and spec.method == "forward"  # the module is called as its user does
    return whole and len(spec.inputs) == 1 and not names_in(spec.inputs[0].sizes)


def stimulus(spec: ModelSpec, steps: int | None, batch: int, scale: float) -> Tensor:
    """Returns an input that nothing else is made of: the spec's own example, or independent draws for every step.

    Args:
        spec: Of the model.
        steps: T.
        batch: B.
        scale: Factor, for networks that an input of the declared range does not move.
    """
    info, shape = spec.inputs[0], input_shape(spec, steps, batch)
    if spec.example is not None and scale == 1.0:
        try:
            return example_input(spec, steps, batch, _SEED)
        except NeurokitError:  # an example of one shape only
            pass
    dtype = getattr(torch, info.dtype)
    generator = torch.Generator().manual_seed(_SEED)
    if not dtype.is_floating_point:
        return torch.randint(int(info.low), int(info.high) + 1, shape, generator=generator).to(dtype)
    x = torch.rand(shape, generator=generator, dtype=torch.float64) * (info.high - info.low) + info.low
    return (x * scale).to(dtype)


def run_program(captured: Captured, x: Tensor, double: bool, made: dict[bool, Any] | None = None) -> Run:
    """Runs the traced program on the whole input.

    Args:
        captured: The capture.
        x: The input.
        double: Whether in float64.
        made: The program as modules in its own types and in float64, as far as earlier runs have made them.
    """
    size = int(x.shape[x.dim() - len(captured.spec.inputs[0].shape) - 1])
    made = {} if made is None else made
    if double not in made:
        module: Any = readable(captured.program)
        made[double] = program_in_double(called(module)) if double else module
    module, states = made[double], captured.initial_states(size)
    if double:
        states = tuple(s.double() if s.is_floating_point() else s for s in states)
    outputs, records = record(module, (x, *states))
    spikes = {path: entry.spikes for path, entry in zip(captured.calls, records, strict=True)}
    once = {path: value for path, value in spikes.items() if captured.calls.count(path) == 1}
    return Run(outputs[: len(captured.output_names)], once)


def program_in_double(module: Any) -> Any:
    """Returns a program that computes in float64, types that its graph names included."""
    made = copied(module).double()
    in_slabs(made.graph)
    for part in made.modules():  # with the bodies of loops
        if not isinstance(part, torch.fx.GraphModule):
            continue
        for node in part.graph.nodes:
            node.args = torch.fx.node.map_aggregate(node.args, _doubled)
            node.kwargs = torch.fx.node.map_aggregate(node.kwargs, _doubled)
        part.recompile()
    return made


def _doubled(value: Any) -> Any:
    return torch.float64 if value in (torch.float32, torch.float16, torch.bfloat16) else value


def run_twin(twin: Twin, captured: Captured, x: Tensor) -> Run:
    """Runs what would be traced, whole."""
    with _unnamed(twin, captured.known_steps), torch.no_grad():
        return Run(tuple(twin(x))[: len(captured.output_names)])


def run_steps(twin: Twin, captured: Captured, x: Tensor, steps: int) -> Run:
    """Runs what would be traced for a step, step after step, and puts the outputs together again."""
    image = captured.spec.time_input == "image"
    found: list[tuple[Tensor, ...]] = []
    states: tuple[Tensor, ...] = ()
    with _unnamed(twin, captured.known_steps), torch.no_grad():
        set_time_steps(twin.net, 1)
        twin.single = True
        for t in range(steps):
            for slot in twin.slots:
                memories = list(getattr(slot.module, "_memories", ()))
                named = zip(memories, slot.values, strict=False)
                slot.names = tuple(m for m, v in named if isinstance(v, Tensor)) if states else ()
            found.append(tuple(twin(x if image else x[t], *states))[: len(captured.output_names)])
            states = tuple(v for slot in twin.slots for v in slot.values if isinstance(v, Tensor))
    stacked = (torch.stack(values) for values in zip(*found, strict=True))
    return Run(tuple(over_time(y, kind) for y, kind in zip(stacked, captured.output_kinds, strict=True)))


@contextmanager
def _unnamed(twin: Twin, steps: int | None) -> Iterator[None]:
    """Runs a twin from its initial state, and leaves it as it was, set to T steps."""
    names = [slot.names for slot in twin.slots]
    for slot in twin.slots:
        slot.names = ()
    try:
        yield
    finally:
        twin.single = False
        for slot, old in zip(twin.slots, names, strict=True):
            slot.names = old
        if steps is not None:
            set_time_steps(twin.net, steps)
