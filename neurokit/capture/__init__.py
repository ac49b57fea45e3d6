"""Capture: any module with SpikingJelly neurons becomes one torch.export program with explicit state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from neurokit.capture.neurons import is_stateful
from neurokit.capture.obstacles import not_one_step, not_streaming, specialised, wrong_time_steps
from neurokit.capture.probe import Probe, input_shape, probe, set_time_steps, time_output
from neurokit.capture.time_input import find_time_semantics, neurons_of
from neurokit.capture.tracing import NO_NODE, Job, traced
from neurokit.capture.twin import Twin, private_copy
from neurokit.capture.types import Captured, Form, NeuronInfo, StateInfo, TimeSteps
from neurokit.errors import InputError, ModelLoadError, Unsupported, UnsupportedError
from neurokit.neurons.ops import is_neuron
from neurokit.program.passes import TRACED, apply
from neurokit.spec import ModelSpec, TensorSpec, TimeInput
from neurokit.weights import check_finite

__all__ = ["Captured", "NeuronInfo", "StateInfo", "capture", "opened", "spec_of"]

_DYNAMIC_T = 3  # example lengths of dynamic axes: unequal to each other, to 0 and to 1
_DYNAMIC_B = 2
_NO_NEURON = ("loop", "delay")


def capture(
    model: ModelSpec | nn.Module,
    example_inputs: torch.Tensor | None = None,
    *,
    time_steps: int | Literal["dynamic"] | None = None,
    batch: int | Literal["dynamic"] = "dynamic",
    merge: bool = False,
    form: Form = "sequence",
) -> Captured:
    """Captures a model as one program in which every neuron takes and returns its state.

    Args:
        model: A spec, or a module together with `example_inputs`. The module is left as it was found.
        example_inputs: For a bare module: `[T, B, *shape]` if it has neurons, else `[B, *shape]`.
        time_steps: T, or "dynamic"; default is the spec's.
        batch: A fixed batch size, or "dynamic".
        merge: Whether to merge re-parameterised branches (RepConv) into single convolutions.
        form: "sequence", or "step" for a program of one time step.

    Returns:
        The captured model.

    Raises:
        UnsupportedError: If it cannot be captured; lists every reason.
        InputError: If T or the batch size is no positive number, or the module does not take such inputs.
        ModelLoadError: If the module cannot be built or copied.
        WeightsError: If a weight is NaN or infinite.
    """
    spec = model if isinstance(model, ModelSpec) else spec_of(model, example_inputs, time_steps)
    module = spec.build()
    if not isinstance(module, nn.Module):
        raise ModelLoadError(f"model {spec.name!r} built a {type(module).__name__}", expected="a torch.nn.Module")
    check_finite(module, spec.name)
    merged = "none"
    if spec.merge_reparameterised is not None:
        merged = "merged" if merge else "kept"
        module = spec.merge_reparameterised(module) if merge else module
    net, notes = private_copy(module)
    steps = _time_steps(spec, net, time_steps)
    spec = replace(spec, time_steps=spec.time_steps if isinstance(steps, str) else steps)
    _check_batch(batch)
    twin = Twin(net, "none" if steps is None else spec.time_input)
    return _trace(twin, spec, steps, batch, form, merged, tuple(notes))


def opened(captured: Captured) -> Captured:
    """Returns a capture with its loops cut open, so that every neuron is one node over all T steps.

    What a loop feeds back then comes in as a state `[T, B, *shape]`, the value of the step before each step, and goes
    out as one. `neurokit.capture.reference.fed_back` finds the values with which that is the network itself.

    Args:
        captured: Any capture; one without loops is returned as it is.
    """
    if not captured.loops or captured.opened:
        return captured
    steps = captured.time_steps if isinstance(captured.time_steps, int) else captured.spec.time_steps
    return captured.retrace(form="sequence", time_steps=steps, opened=True)


def spec_of(module: nn.Module, example_inputs: torch.Tensor | None, time_steps: int | str | None = None) -> ModelSpec:
    """Returns a spec for a bare module and an example of its input."""
    if not isinstance(example_inputs, torch.Tensor):
        raise InputError(
            "a bare module was given without example_inputs",
            expected="a tensor [T, B, *shape], or [B, *shape] without neurons",
            fix="nk.capture(module, example_inputs=x), or describe it with nk.ModelSpec",
        )
    slots = Twin(private_copy(module)[0], "none").slots
    spiking = bool(slots)
    # snnTorch's and norse's networks are called once a step.
    stepwise = any(getattr(slot.module, "_neurokit_adopted", False) for slot in slots)
    axes = 2 if spiking else 1
    if example_inputs.dim() <= axes - 1 or min(example_inputs.shape, default=0) < 1:
        raise InputError(f"example_inputs has shape {list(example_inputs.shape)}", expected="[T, B, *shape]")
    shape = tuple(int(size) for size in example_inputs.shape[axes:]) or (1,)
    dtype = str(example_inputs.dtype).removeprefix("torch.")
    low, high = float(example_inputs.min()), float(example_inputs.max())
    steps = int(example_inputs.shape[0]) if spiking and not isinstance(time_steps, int) else time_steps
    tensor = TensorSpec("x", shape, dtype, low=min(low, 0.0), high=max(high, 1.0))
    return ModelSpec(
        name=type(module).__name__,
        build=lambda: module,
        inputs=(tensor,),
        time_steps=steps if isinstance(steps, int) else None,
        time_input="step" if stepwise else _time_input(module, tensor, int(example_inputs.shape[0])),
    )


def _time_input(module: nn.Module, tensor: TensorSpec, steps: int) -> TimeInput:
    """Returns what a bare module takes over time; one whose neurons are all single-step may take a step at a time.

    Such a module would run on a sequence too, with time taken for the batch, and keep no state from step to step.
    """
    neurons = neurons_of(module).values()
    if not neurons or any(getattr(part, "step_mode", "m") != "s" for part in neurons):
        return "sequence"
    return find_time_semantics(module, tensor, steps, repeats=False, ref=type(module).__name__)


def _time_steps(spec: ModelSpec, net: nn.Module, asked: int | str | None) -> TimeSteps:
    if isinstance(asked, bool) or (asked is not None and asked != "dynamic" and not isinstance(asked, int)):
        raise InputError(f"time_steps is {asked!r}", expected='a whole number >= 1 or "dynamic"')
    if isinstance(asked, int) and asked < 1:
        raise InputError(f"time_steps is {asked}", expected="a whole number >= 1", fix="--time-steps 4")
    if spec.time_steps is None and not any(is_stateful(part) for part in net.modules()):
        return None
    steps = asked if asked is not None else spec.time_steps if spec.time_steps is not None else 4
    if steps == "dynamic" and spec.time_input == "image":
        why = "the module repeats its image T times itself, so T is part of the program"
        fix = "give a number of time steps, or let its forward take a sequence [T, B, ...]"
        raise UnsupportedError(f"model {spec.name!r} cannot have a dynamic T", [Unsupported("", spec.name, why, fix)])
    return steps  # type: ignore[return-value]


def _check_batch(batch: int | str) -> None:
    if batch != "dynamic" and (not isinstance(batch, int) or isinstance(batch, bool) or batch < 1):
        raise InputError(f"batch is {batch!r}", expected='a whole number >= 1 or "dynamic"')


def _trace(
    twin: Twin,
    spec: ModelSpec,
    steps: TimeSteps,
    batch: int | Literal["dynamic"],
    form: Form,
    merged: str,
    notes: tuple[str, ...],
    opened: bool = False,
) -> Captured:
    single = form == "step"
    reasons = [*twin.refusals(), *wrong_time_steps(twin, steps)]
    if single:
        reasons += not_streaming(twin, spec)
    if reasons:
        raise UnsupportedError(f"model {spec.name!r} cannot be captured", reasons)
    example_t = _DYNAMIC_T if steps == "dynamic" else steps
    # Before the state is named: this one runs the twin from its initial state.
    over_time = time_output(twin, spec, example_t)
    twin.time_output = over_time
    twin.opened = opened
    try:
        found = probe(twin, spec, example_t, single)
        reasons = [*found.problems, *(not_one_step(twin, spec, over_time) if single else ())]
        if reasons:
            raise UnsupportedError(f"model {spec.name!r} cannot be captured", reasons)
        program, order = _export(twin, spec, steps, batch, single, found)
    finally:
        twin.opened = False
    ops = {slot.path: slot.op for slot in twin.slots}
    calls = tuple(path for path in order if ops[path] not in NO_NODE)
    _check_nodes(program, calls)

    cut: dict[str, Captured] = {}  # vectors, targets and the simulator ask for it in turn

    def retrace(**changes: Any) -> Captured:
        settings = {"time_steps": steps, "batch": batch, "form": form, "opened": opened, **changes}
        key = str(settings)
        if key in cut:
            return cut[key]
        made = _trace(
            twin, spec, settings["time_steps"], settings["batch"], settings["form"], merged, notes, settings["opened"]
        )
        if made.opened:
            cut[key] = made
        return made

    return Captured(
        spec=spec,
        form=form,
        time_steps=steps,
        batch=batch,
        program=program,
        states=found.states,
        neurons=_neurons(twin, order, found.states),
        calls=calls,
        opened=opened,
        loops=tuple(slot.path for slot in twin.slots if slot.op == "loop"),
        output_names=tuple("y" if i == 0 else f"y{i}" for i in range(len(found.outputs))),
        time_output=over_time,
        reparameterisation=merged,
        notes=notes,
        module=twin,
        retrace=retrace,
    )


def _export(
    twin: Twin, spec: ModelSpec, steps: TimeSteps, batch: int | str, single: bool, found: Probe
) -> tuple[ExportedProgram, list[str]]:
    example_t = _DYNAMIC_T if steps == "dynamic" else steps
    example_b = _DYNAMIC_B if batch == "dynamic" else int(batch)
    if example_t is not None:
        set_time_steps(twin.net, 1 if single else example_t)
    dtype = getattr(torch, spec.inputs[0].dtype)
    x = torch.zeros(input_shape(spec, example_t, example_b, single), dtype=dtype)
    states = tuple(torch.zeros(s.concrete(example_b), dtype=getattr(torch, s.dtype)) for s in found.states)
    # Named dimensions with derived sizes (2 * B) make torch.export prove guards that it cannot; DYNAMIC does not,
    # and `_check_dynamic` looks at what came out.
    b_dim = Dim.DYNAMIC if batch == "dynamic" else None
    t_dim = Dim.DYNAMIC if steps == "dynamic" else None
    b_axis = x.dim() - len(spec.inputs[0].shape) - 1
    x_dims: dict[int, Any] = {} if b_dim is None else {b_axis: b_dim}
    if t_dim is not None:
        x_dims[0] = t_dim
    s_dims = tuple(
        {axis: b_dim for axis, size in enumerate(s.shape) if b_dim is not None and not isinstance(size, int)}
        for s in found.states
    )
    shapes: dict[str, Any] = {"x": x_dims, "states": s_dims} if states else {"x": x_dims}
    job = Job(twin, spec, steps, (x, *states), shapes, single)
    program, order = traced(job)
    _check_dynamic(program, spec, steps, batch, x_dims)
    apply(program, *TRACED)
    return program, order


def _check_dynamic(
    program: ExportedProgram, spec: ModelSpec, steps: TimeSteps, batch: int | str, x_dims: dict[int, Any]
) -> None:
    """Refuses a program whose T or B was silently specialised."""
    node = next(n for n in program.graph.nodes if n.name == program.graph_signature.user_inputs[0])
    shape = node.meta["val"].shape
    for axis, dim in x_dims.items():
        if dim is not None and isinstance(shape[axis], int):
            raise specialised(spec, "T" if axis == 0 and steps == "dynamic" else "B")


def _check_nodes(program: ExportedProgram, calls: tuple[str, ...]) -> None:
    nodes = [n for n in program.graph.nodes if n.op == "call_function" and is_neuron(n.target)]
    if len(nodes) != len(calls):
        raise RuntimeError(f"{len(calls)} neurons were traced but the graph holds {len(nodes)} neuron nodes")


def _neurons(twin: Twin, order: list[str], states: tuple[StateInfo, ...]) -> tuple[NeuronInfo, ...]:
    return tuple(
        NeuronInfo(
            path=slot.path,
            kind=type(slot.module).__name__,
            op=slot.op,
            calls=order.count(slot.path),
            states=tuple(s.name for s in states if s.neuron == slot.path),
            parameters=dict(slot.adapter.parameters),
        )
        for slot in sorted((s for s in twin.slots if s.path in order), key=lambda s: order.index(s.path))
        if slot.op not in _NO_NEURON
    )
