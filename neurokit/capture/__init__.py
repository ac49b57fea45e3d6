"""Capture: any module with SpikingJelly neurons becomes one torch.export program with explicit state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.export import ExportedProgram

from neurokit.capture.bare import Examples, spec_of
from neurokit.capture.by_hand import NOT_ALIKE, hand_step
from neurokit.capture.dry_runs import DryRuns
from neurokit.capture.eager import own_random_numbers, untouched
from neurokit.capture.graphs import refuse_time_steps, sequences_in_graphs, together
from neurokit.capture.hidden import find_hidden
from neurokit.capture.hooks import foreign_hooks, settle
from neurokit.capture.initial_values import learn_starts
from neurokit.capture.merging import merged_reference
from neurokit.capture.neurons import is_stateful
from neurokit.capture.node_cells import BY_LIBRARY, NodeCell
from neurokit.capture.obstacles import INSIDE, growing_over_time, not_one_step, not_streaming, wrong_time_steps
from neurokit.capture.one_by_one import folds
from neurokit.capture.ports import check_dynamic, input_ports, output_ports
from neurokit.capture.probe import Probe, example_values, keep_other_attributes, probe, set_time_steps, time_output
from neurokit.capture.random_nodes import refuse_draws
from neurokit.capture.sides import comparable, stimulus
from neurokit.capture.signature import Signature
from neurokit.capture.step_count import PLACES, find_steps
from neurokit.capture.tracing import NO_NODE, Job, named_calls, traced
from neurokit.capture.twin import Twin, private_copy
from neurokit.capture.types import Captured, Form, Merged, NeuronInfo, PortInfo, StateInfo, TimeSteps, with_batch
from neurokit.capture.unread import refuse_unread
from neurokit.errors import InputError, ModelLoadError, RandomNumbersError, Unsupported, UnsupportedError
from neurokit.garbage import put_off
from neurokit.over_time import of_each
from neurokit.program.late_code import code_when_called
from neurokit.program.passes import TRACED, apply
from neurokit.serial import one_at_a_time
from neurokit.spec import ModelSpec
from neurokit.weights import check_finite

__all__ = ["Captured", "NeuronInfo", "StateInfo", "capture", "opened", "spec_of"]

_DYNAMIC_T = 3  # example lengths of dynamic axes: unequal to each other, to 0 and to 1
_DYNAMIC_B = 2
_MOST_NUMBERS = 2**32  # of one input
_NO_NEURON = ("loop", "delay", "hidden")
_MOST_KNOWN = 4  # forms of a capture that are kept: planning, vectors, targets and the simulator ask for them in turn


@one_at_a_time
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
    _refuse_selection(spec)
    module = spec.build()
    if not isinstance(module, nn.Module):
        raise ModelLoadError(f"model {spec.name!r} built a {type(module).__name__}", expected="a torch.nn.Module")
    check_finite(module, spec.name)
    eager = untouched(module) if compare or any(True for _ in foreign_hooks(module)) else None
    merged: Merged = "none"
    said: list[str] = []
    if spec.merge_reparameterised is not None:
        merged = "merged" if merge else "kept"
        if merge:
            if eager is not None:
                eager, said = merged_reference(eager, spec)
            module = spec.merge_reparameterised(module)
    net, notes = private_copy(module)
    notes += [*getattr(module, "notes_for_user", ()), *said]
    steps = _time_steps(spec, net, time_steps)
    keep_other_attributes(net, spec)
    if steps is not None and (places := find_steps(net, spec)) is not None:
        setattr(net, PLACES, places)
    _check_batch(batch)
    by_call = bool(spec.graphs) and steps is not None  # each call of a graph is a step of its neurons
    if by_call:
        refuse_time_steps(spec, time_steps)
        steps = None
    spec = replace(spec, time_steps=spec.time_steps if isinstance(steps, str) else steps)
    parts: list[Captured] = []
    with own_random_numbers(0):
        if eager is not None and comparable(spec):
            notes += _settle_hooks(net, eager, spec, steps)
        for graph in spec.graphs or (spec.as_graph(),):
            copied = private_copy(net)[0] if parts else net  # a twin rebinds the forward of neurons
            if by_call:
                parts.append(_of_one_call(copied, spec.of(graph), Signature(graph, copied), batch, merged, notes))
                continue
            twin = _twin(copied, spec, steps, Signature(graph, copied))
            parts.append(_trace(_Source(twin, spec.of(graph), merged, tuple(notes)), steps, batch, form))
        made = together(parts) if spec.graphs else parts[0]
        if compare and eager is not None and form == "sequence":
            from neurokit.capture.fidelity import hold_against

            try:
                made = hold_against(eager, made)
            except UnsupportedError as error:
                # What draws is another network in every run: that is why, then. Where runs have shown the part that
                # draws, they know more than the program: operations of a loop have no module of their own there.
                if not _names_what_draws(error):
                    _refuse_inputs(made, net)
                raise
        _refuse_inputs(made, net)
        return made


def _names_what_draws(error: UnsupportedError) -> bool:
    return isinstance(error, RandomNumbersError) and any(getattr(reason, "path", "") for reason in error.reasons)


def _refuse_inputs(captured: Captured, net: nn.Module) -> None:
    """Refuses a program that reads none of its inputs, and one that draws numbers that are no inputs."""
    for part in captured.graphs:
        refuse_draws(part.program, captured.spec, net)
        refuse_unread(part, net)


def _of_one_call(
    net: nn.Module, spec: ModelSpec, signature: Signature, batch: Any, merged: Merged, notes: Sequence[str]
) -> Captured:
    """Captures one of several graphs of a model with neurons: a call is a step, membranes are the graph's states."""
    stepped = replace(spec, time_steps=1, time_input="step", time_output="sequence")
    twin = Twin(net, "step", signature)
    twin.by_step = True

    def made(batch: Any = batch, **_: Any) -> Captured:
        part = _trace(_Source(twin, stepped, merged, tuple(notes)), 1, batch, "step")
        return replace(part, spec=spec, time_steps=None, time_output="last", retrace=made)

    reasons = sequences_in_graphs(twin)
    if reasons:
        raise UnsupportedError(f"model {spec.name!r} cannot be captured", reasons)
    return made()


def _twin(net: nn.Module, spec: ModelSpec, steps: TimeSteps, signature: Signature) -> Twin:
    """Returns the twin of a module; one that cannot run all its steps at once is told so."""
    stepwise = steps is not None and spec.time_input == "step"
    hidden = find_hidden(net, spec, signature) if stepwise else ()
    twin = Twin(net, "none" if steps is None else spec.time_input, signature, hidden)
    # What the graph declares as state goes from step to step.
    twin.by_step = twin.by_step or (stepwise and (bool(signature.graph.states) or not folds(twin, spec)))
    return twin


def _settle_hooks(net: nn.Module, eager: nn.Module, spec: ModelSpec, steps: TimeSteps) -> list[str]:
    count = spec.time_steps if isinstance(steps, str) else steps
    return settle(net, eager, stimulus(spec, count, 2, 1.0), steps is not None and spec.time_input == "step")


def opened(captured: Captured) -> Captured:
    """Returns a capture with its loops cut open, so that every neuron is one node over all T steps.

    What a loop feeds back then comes in as a state `[T, B, *shape]`, the value of the step before each step, and goes
    out as one. `neurokit.capture.reference.fed_back` finds the values with which that is the network itself.

    Args:
        captured: Any capture; one without loops is returned as it is.
    """
    if not captured.loops or captured.opened:
        return captured
    steps = captured.known_steps
    return captured.retrace(form="sequence", time_steps=steps, opened=True)


def _time_steps(spec: ModelSpec, net: nn.Module, asked: int | str | None) -> TimeSteps:
    if isinstance(asked, bool) or (asked is not None and asked != "dynamic" and not isinstance(asked, int)):
        raise InputError(f"time_steps is {asked!r}", expected='a whole number >= 1 or "dynamic"')
    if isinstance(asked, int) and asked < 1:
        raise InputError(f"time_steps is {asked}", expected="a whole number >= 1", fix="--time-steps 4")
    if spec.time_steps is None and not any(is_stateful(part) for part in net.modules()):
        return None
    steps = asked if asked is not None else spec.time_steps if spec.time_steps is not None else 4
    if steps == "dynamic" and spec.time_input == "image":
        reason = Unsupported("", spec.name, INSIDE, "use target onnx, or let its forward take a sequence [T, B, ...]")
        raise UnsupportedError(f"model {spec.name!r} cannot have a dynamic T", [reason])
    return steps  # type: ignore[return-value]


def _refuse_selection(spec: ModelSpec) -> None:
    """Refuses attention whose selection of keys has no graph, with what the form of selected keys alone lacks beside.

    Raises:
        UnsupportedError: Lists every reason, before the model is built.
    """
    if spec.sparse is None or not (reasons := list(spec.sparse.obstacles("masked"))):
        return
    reasons += [reason for reason in spec.sparse.obstacles("gathered") if reason not in reasons]
    raise UnsupportedError(f"model {spec.name!r} cannot be captured: what its attention selects has no graph", reasons)


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


@dataclass(frozen=True)
class _Source:
    """What the forms of a capture are traced from.

    Attributes:
        twin: The module, with a slot for every neuron.
        spec: What is known of the model.
        merged: What became of its reparameterised parts.
        notes: For the user.
        known: The forms that are kept, by their settings.
    """

    twin: Twin
    spec: ModelSpec
    merged: Merged
    notes: tuple[str, ...]
    known: dict[str, Captured] = field(default_factory=dict)


def _trace(
    source: _Source, steps: TimeSteps, batch: int | Literal["dynamic"], form: Form, opened: bool = False
) -> Captured:
    """Traces the twin, or returns what was traced of it in the same form."""
    key, known = str((steps, batch, form, opened)), source.known
    if key not in known:
        known[key] = _trace_anew(source, steps, batch, form, opened)
        if len(known) > _MOST_KNOWN:
            del known[next(iter(known))]
    return known[key]


def _trace_anew(
    source: _Source, steps: TimeSteps, batch: int | Literal["dynamic"], form: Form, opened: bool
) -> Captured:
    """Traces the twin; over a free T, if need be, one whose neurons are run by their library's code.

    The equations of a library, step by step, are one loop for any T, where an operation over all steps and the
    membranes that a forward reads beside it are not.
    """
    spec = source.spec
    try:
        with put_off(), code_when_called():
            return _traced(source, steps, batch, form, opened)
    except UnsupportedError:
        operations = any(isinstance(part, NodeCell) for part in source.twin.modules())
        if steps != "dynamic" or not operations or BY_LIBRARY.get() or spec.graphs:
            raise
        kept = BY_LIBRARY.set(True)
        try:
            return capture(spec, time_steps=steps, batch=batch, merge=source.merged == "merged", form=form)
        finally:
            BY_LIBRARY.reset(kept)


def _traced(source: _Source, steps: TimeSteps, batch: int | Literal["dynamic"], form: Form, opened: bool) -> Captured:
    twin, spec = source.twin, source.spec
    single = form == "step"
    _refuse_size(spec, steps, batch)
    reasons = [*twin.refusals(), *wrong_time_steps(twin, steps), *(growing_over_time(twin, spec) if steps != 1 else [])]
    stepless = not_streaming(twin, spec) if single else []
    if twin.slots:
        reasons += stepless
    if reasons:
        raise UnsupportedError(f"model {spec.name!r} cannot be captured", reasons)
    example_t = _DYNAMIC_T if steps == "dynamic" else steps
    found = None
    if not twin.starts_known:
        over_time, found = _probed(twin, spec, example_t, False, opened)
    if learn_starts(twin, spec, example_t) or single or found is None:
        over_time, found = _probed(twin, spec, example_t, single, opened)
    twin.opened = opened
    try:
        obstacles = [*(stepless or not_one_step(twin, spec, over_time))] if single else []
        hand = hand_step(twin, spec, batch, found) if obstacles and not found.problems else ""
        # It has no neurons of a library, and steps all the same; or there is more to say than that steps differ.
        if isinstance(hand, str) and hand and (not twin.slots or hand != NOT_ALIKE):
            obstacles = [Unsupported("", type(twin.net).__name__, hand, "use the sequence form (target onnx)")]
        reasons = [*found.problems, *(obstacles if isinstance(hand, str) else [])]
        if reasons:
            raise UnsupportedError(f"model {spec.name!r} cannot be captured", reasons)
        if isinstance(hand, str):
            program, order = _export(twin, spec, steps, batch, single, found)
        else:
            program, order, over_time = hand.program, hand.paths, hand.time_output
            apply(program, *TRACED)
            found = replace(found, states=(*found.states, *with_batch(hand.states, batch)))
    finally:
        twin.opened = False
    ops = {slot.path: slot.op for slot in twin.slots}
    calls = named_calls(program, [path for path in order if ops[path] not in NO_NODE])
    names = twin.signature.output_names
    inputs = input_ports(spec, steps, batch, form)
    kinds = of_each(over_time, len(names))
    outputs = output_ports(program, spec, (*inputs, *found.states), names, kinds, steps, form)

    @one_at_a_time
    def retrace(**changes: Any) -> Captured:
        if changes.keys() == {"form"} and _without_time(twin, spec, steps, over_time):
            return in_form(changes["form"])
        settings: dict[str, Any] = {"steps": steps, "batch": batch, "form": form, "opened": opened}
        settings |= {("steps" if name == "time_steps" else name): value for name, value in changes.items()}
        return _trace(source, **settings)

    def in_form(other: Form) -> Captured:
        """The same program under another form's name: without neurons and time there is nothing else to a form."""
        made = replace(
            whole,
            form=other,
            inputs=input_ports(spec, steps, batch, other),
            outputs=output_ports(program, spec, (*inputs, *found.states), names, kinds, steps, other),
        )
        return replace(made, retrace=lambda **changes: retrace(**{"form": other, **changes}))

    whole = Captured(
        spec=spec,
        form=form,
        time_steps=steps,
        batch=batch,
        program=program,
        states=found.states,
        neurons=_neurons(twin, order, calls, found.states),
        calls=calls,
        opened=opened,
        loops=tuple(slot.path for slot in twin.slots if slot.op == "loop"),
        output_names=names,
        inputs=inputs,
        outputs=outputs,
        graph=twin.signature.graph.name,
        time_output=over_time,
        reparameterisation=source.merged,
        notes=source.notes,
        module=twin,
        retrace=retrace,
    )
    return whole


def _without_time(twin: Twin, spec: ModelSpec, steps: TimeSteps, over_time: str) -> bool:
    """Whether a program has neither neurons nor time, and keeps what it declares alone: forms do not differ then."""
    if twin.slots or steps is not None:
        return False
    return not not_streaming(twin, spec) and not not_one_step(twin, spec, over_time)


def _probed(twin: Twin, spec: ModelSpec, steps: int | None, single: bool, opened: bool) -> tuple[str, Probe]:
    """Returns what the output is over time, and what the dry runs found."""
    runs = DryRuns(twin, spec)
    # Before the state is named: this one runs the twin from its initial state.
    twin.time_output = time_output(runs, steps)
    twin.opened = opened
    try:
        return twin.time_output, probe(runs, steps, single)
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
    given = input_ports(spec, steps, batch, "step" if single else "sequence")
    ports: tuple[PortInfo | StateInfo, ...] = (*given, *with_batch(found.states, batch))
    program, order = traced(Job(twin, spec, steps, values, ports, single))
    check_dynamic(program, spec, ports)
    apply(program, *TRACED)
    return program, order


def _neurons(
    twin: Twin, order: list[str], calls: tuple[str, ...], states: tuple[StateInfo, ...]
) -> tuple[NeuronInfo, ...]:
    """Returns every neuron layer; one that starts anew at a later call is a layer of its own there."""
    slots = {slot.path: slot for slot in twin.slots if slot.op not in _NO_NEURON}
    layers = list(dict.fromkeys(calls))
    layers += [path for path in dict.fromkeys(order) if path in slots and path not in layers]
    names = [(name, slots[name.partition("@")[0]]) for name in layers]
    return tuple(
        NeuronInfo(
            path=name,
            kind=type(slot.module).__name__,
            op=slot.op,
            calls=calls.count(name) or order.count(name),
            states=tuple(s.name for s in states if s.neuron == name),
            parameters=dict(slot.adapter.parameters),
        )
        for name, slot in sorted(names, key=lambda entry: order.index(entry[1].path))
    )
