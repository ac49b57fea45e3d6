"""Capture: any module with SpikingJelly neurons becomes one torch.export program with explicit state."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn
from torch.export import ExportedProgram

from neurokit.capture.attribute_state import mark_states
from neurokit.capture.eager import own_random_numbers, untouched
from neurokit.capture.hooks import foreign_hooks, settle
from neurokit.capture.initial_values import learn_starts
from neurokit.capture.neurons import is_stateful
from neurokit.capture.obstacles import neurons_and_states, not_one_step, not_streaming, wrong_time_steps
from neurokit.capture.ports import check_dynamic, input_ports, output_meaning, output_ports
from neurokit.capture.probe import Probe, example_values, keep_other_attributes, probe, set_time_steps, time_output
from neurokit.capture.several import together
from neurokit.capture.sides import comparable, stimulus
from neurokit.capture.signature import Signature
from neurokit.capture.tidy import tidy
from neurokit.capture.time_input import find_time_semantics, neurons_of, quiet_copy, steps_of_its_own, takes_one_step
from neurokit.capture.tracing import NO_NODE, Job, traced
from neurokit.capture.twin import Twin, private_copy
from neurokit.capture.types import Captured, Form, NeuronInfo, StateInfo, TimeSteps
from neurokit.dims import BATCH, substitute
from neurokit.errors import InputError, ModelLoadError, Unsupported, UnsupportedError
from neurokit.neurons.ops import is_neuron
from neurokit.spec import ModelSpec, TensorSpec, TimeInput, TimeOutput
from neurokit.weights import check_finite

Examples = torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]

__all__ = ["Captured", "NeuronInfo", "StateInfo", "capture", "opened", "spec_of"]

_DYNAMIC_T = 3  # example lengths of dynamic axes: unequal to each other, to 0 and to 1
_DYNAMIC_B = 2
_MOST_NUMBERS = 2**32  # of one input
_NO_NEURON = ("loop", "delay")


def capture(
    model: ModelSpec | nn.Module,
    example_inputs: Examples | None = None,
    *,
    time_steps: int | Literal["dynamic"] | None = None,
    batch: int | Literal["dynamic"] = "dynamic",
    merge: bool = False,
    form: Form = "sequence",
    compare: bool = False,
) -> Captured:
    """Captures a model as one program in which every neuron takes and returns its state.

    Args:
        model: A spec, or a module together with `example_inputs`. The module is left as it was found.
        example_inputs: For a bare module: `[T, B, *shape]` if it has neurons or `time_steps` is given, `[B, *shape]`
            if it has none or repeats an image itself; several as a tuple, or as a dict by name.
        time_steps: T, or "dynamic"; default is the spec's.
        batch: A fixed batch size, or "dynamic".
        merge: Whether to merge re-parameterised branches (RepConv) into single convolutions.
        form: "sequence", or "step" for a program of one time step.
        compare: Whether the capture is held against the module itself (`neurokit.capture.fidelity`).

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
    eager = untouched(module) if compare or any(True for _ in foreign_hooks(module)) else None
    merged = "none"
    if spec.merge_reparameterised is not None:
        merged = "merged" if merge else "kept"
        module = spec.merge_reparameterised(module) if merge else module
    net, notes = private_copy(module)
    notes += getattr(module, "notes_for_user", ())
    steps = _time_steps(spec, net, time_steps)
    keep_other_attributes(net, spec)
    _check_batch(batch)
    if spec.graphs and steps is not None:
        raise _several_and_neurons(spec)
    spec = replace(spec, time_steps=spec.time_steps if isinstance(steps, str) else steps)
    parts = []
    with own_random_numbers(0):
        if eager is not None and comparable(spec):
            notes += _settle_hooks(net, eager, spec, steps)
        for graph in spec.graphs or (spec.as_graph(),):
            copied = private_copy(net)[0] if parts else net  # a twin rebinds the forward of neurons
            twin = Twin(copied, "none" if steps is None else spec.time_input, Signature(graph, copied))
            parts.append(_trace(twin, spec.of(graph), steps, batch, form, merged, tuple(notes)))
        made = together(parts) if spec.graphs else parts[0]
        if not compare or eager is None or form != "sequence":
            return made
        from neurokit.capture.fidelity import hold_against

        return hold_against(eager, made)


def _settle_hooks(net: nn.Module, eager: nn.Module, spec: ModelSpec, steps: TimeSteps) -> list[str]:
    count = spec.time_steps if isinstance(steps, str) else steps
    return settle(net, eager, stimulus(spec, count, 2, 1.0), steps is not None and spec.time_input == "step")


def _several_and_neurons(spec: ModelSpec) -> UnsupportedError:
    why = "it has several graphs and spiking neurons, whose state belongs to no single one of them"
    reason = Unsupported("", spec.name, why, "give a spiking model one graph")
    return UnsupportedError(f"model {spec.name!r} cannot be captured", [reason])


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


def spec_of(module: nn.Module, example_inputs: Examples | None, time_steps: int | str | None = None) -> ModelSpec:
    """Returns a spec for a bare module and examples of its inputs."""
    given = _named_examples(module, example_inputs)
    first = next(iter(given.values()))
    single = len(given) == 1  # with several inputs nothing is tried out
    module = _with_states_by_hand(module, first) if single else module
    timed = isinstance(time_steps, int) and not isinstance(time_steps, bool)
    spiking = timed or bool(Twin(private_copy(module)[0], "none").slots)
    looped = _steps_of_an_image(module, first) if spiking and single and not timed else None
    axes = 1 if looped is not None or not spiking else 2
    for name, value in given.items():
        if value.dim() <= axes - 1 or min(value.shape, default=0) < 1:
            what = "example_inputs" if single else f"example input {name!r}"
            raise InputError(f"{what} has shape {list(value.shape)}", expected="[T, B, *shape]")
    tensors = tuple(_tensor_spec(name, value, axes) for name, value in given.items())
    steps = looped or (int(first.shape[0]) if spiking and not isinstance(time_steps, int) else time_steps)
    semantics: TimeInput = "image" if looped else "sequence"
    if single and not looped:
        semantics = _time_input(module, tensors[0], int(first.shape[0]))
    return ModelSpec(
        name=type(module).__name__,
        build=lambda: module,
        inputs=tensors,
        time_steps=steps if isinstance(steps, int) else None,
        time_input=semantics,
    )


def _with_states_by_hand(module: nn.Module, example_inputs: torch.Tensor) -> nn.Module:
    """Returns the module, or a copy in which the attributes that it keeps from call to call are marked as states."""
    shape = tuple(example_inputs.shape[2:])
    if not shape or neurons_of(module):
        return module
    try:
        marked = quiet_copy(module).eval()
    except Exception:  # what cannot be copied is refused further on, with its reason
        return module
    mark_states(marked, TensorSpec("x", shape, str(example_inputs.dtype).removeprefix("torch.")))
    return marked if neurons_of(marked) else module


def _steps_of_an_image(module: nn.Module, example_inputs: torch.Tensor) -> int | None:
    """Returns how many time steps a bare module makes of one image itself, or None if it takes steps."""
    neurons, shape = neurons_of(module).values(), tuple(example_inputs.shape[1:])
    if not shape or not neurons or not all(takes_one_step(part) for part in neurons):
        return None
    return steps_of_its_own(module, TensorSpec("x", shape, str(example_inputs.dtype).removeprefix("torch.")))


def _named_examples(module: nn.Module, given: Examples | None) -> dict[str, torch.Tensor]:
    """Returns examples by name: of several in a tuple, by the parameters of forward."""
    named = {"x": given} if isinstance(given, torch.Tensor) else given
    if isinstance(named, list | tuple):
        parameters = list(inspect.signature(module.forward).parameters)
        plain = len(parameters) >= len(named) and all(name.isidentifier() for name in parameters)
        named = dict(zip(parameters if plain else (f"x{i}" for i in range(len(named))), named, strict=False))
    if not isinstance(named, Mapping) or not named or not all(isinstance(v, torch.Tensor) for v in named.values()):
        raise InputError(
            "a bare module was given without example_inputs",
            expected="a tensor [T, B, *shape], or [B, *shape] without neurons; several in a tuple or a dict",
            fix="nk.capture(module, example_inputs=x), or describe it with nk.ModelSpec",
        )
    return dict(named)


def _tensor_spec(name: str, value: torch.Tensor, axes: int) -> TensorSpec:
    shape = tuple(int(size) for size in value.shape[axes:])
    dtype = str(value.dtype).removeprefix("torch.")
    low, high = float(value.min()), float(value.max())
    return TensorSpec(name, shape or ((1,) if name == "x" else ()), dtype, low=min(low, 0.0), high=max(high, 1.0))


def _time_input(module: nn.Module, tensor: TensorSpec, steps: int) -> TimeInput:
    """Returns what a bare module takes over time; one whose neurons are all single-step may take a step at a time.

    Such a module would run on a sequence too, with time taken for the batch, and keep no state from step to step.
    """
    neurons = neurons_of(module).values()
    if not neurons or not all(takes_one_step(part) for part in neurons):
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


def _refuse_size(spec: ModelSpec, steps: TimeSteps, batch: int | str) -> None:
    """Refuses an input that no machine holds, before it is made."""
    sample = sum(math.prod(size for size in port.sizes if isinstance(size, int)) for port in spec.inputs)
    sizes = (sample, steps if isinstance(steps, int) else 1, batch if isinstance(batch, int) else 1)
    if math.prod(sizes) > _MOST_NUMBERS:
        raise InputError(
            f"an input of T = {sizes[1]:,} and B = {sizes[2]:,} has {math.prod(sizes):.3g} numbers",
            expected=f"at most {_MOST_NUMBERS:.3g}",
            fix="a smaller batch or fewer time steps",
        )


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
    _refuse_size(spec, steps, batch)
    reasons = [*twin.refusals(), *wrong_time_steps(twin, steps), *neurons_and_states(twin, spec)]
    if single:
        reasons += not_streaming(twin, spec)
    if reasons:
        raise UnsupportedError(f"model {spec.name!r} cannot be captured", reasons)
    example_t = _DYNAMIC_T if steps == "dynamic" else steps
    over_time, found = _probed(twin, spec, example_t, single, opened)
    if learn_starts(twin, spec, example_t, single):
        over_time, found = _probed(twin, spec, example_t, single, opened)
    twin.opened = opened
    try:
        reasons = [*found.problems, *(not_one_step(twin, spec, over_time) if single else ())]
        if reasons:
            raise UnsupportedError(f"model {spec.name!r} cannot be captured", reasons)
        program, order = _export(twin, spec, steps, batch, single, found)
    finally:
        twin.opened = False
    ops = {slot.path: slot.op for slot in twin.slots}
    calls = tuple(path for path in order if ops[path] not in NO_NODE)
    _check_nodes(program, calls)
    names = twin.signature.output_names
    inputs = input_ports(spec, steps, batch, form)
    time_axis = 0 if over_time == "sequence" and form == "sequence" and steps is not None else None
    outputs = output_ports(
        program, spec, (*inputs, *found.states), names, time_axis, output_meaning(over_time, steps, form)
    )

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
        output_names=names,
        inputs=inputs,
        outputs=outputs,
        graph=twin.signature.graph.name,
        time_output=over_time,
        reparameterisation=merged,
        notes=notes,
        module=twin,
        retrace=retrace,
    )


def _probed(twin: Twin, spec: ModelSpec, steps: int | None, single: bool, opened: bool) -> tuple[TimeOutput, Probe]:
    """Returns what the output is over time, and what the dry runs found."""
    # Before the state is named: this one runs the twin from its initial state.
    twin.time_output = time_output(twin, spec, steps)
    twin.opened = opened
    try:
        return twin.time_output, probe(twin, spec, steps, single)
    finally:
        twin.opened = False


def _export(
    twin: Twin, spec: ModelSpec, steps: TimeSteps, batch: int | str, single: bool, found: Probe
) -> tuple[ExportedProgram, list[str]]:
    example_t = _DYNAMIC_T if steps == "dynamic" else steps
    example_b = _DYNAMIC_B if batch == "dynamic" else int(batch)
    if example_t is not None:
        set_time_steps(twin.net, 1 if single else example_t)
    declared = example_values(spec, example_t, example_b, single)
    neurons = found.states[len(spec.states) :]
    values = (*declared, *(torch.zeros(s.concrete(example_b), dtype=getattr(torch, s.dtype)) for s in neurons))
    ports = (*input_ports(spec, steps, batch, "step" if single else "sequence"), *_fixed(found.states, batch))
    program, order = traced(Job(twin, spec, steps, values, ports, single))
    check_dynamic(program, spec, ports)
    tidy(program)
    return program, order


def _fixed(states: tuple[StateInfo, ...], batch: int | str) -> tuple[StateInfo, ...]:
    """Returns states for a batch size that is a number."""
    if not isinstance(batch, int):
        return states
    return tuple(replace(s, shape=tuple(substitute(size, {BATCH: batch}) for size in s.shape)) for s in states)


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
