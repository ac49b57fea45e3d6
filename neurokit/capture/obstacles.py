"""Why a model cannot be captured, or not in the form that was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from torch import nn
from torch.export import ExportedProgram

from neurokit.capture.fault_place import fault_place
from neurokit.capture.hidden import Held
from neurokit.capture.looping import why_not_scanned
from neurokit.capture.one_by_one import streams
from neurokit.capture.step_count import PLACES
from neurokit.capture.twin import Twin
from neurokit.capture.types import PortInfo, StateInfo, TimeSteps
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.over_time import of_each
from neurokit.program.nodes import module_paths
from neurokit.spec import ModelSpec

INSIDE = (
    "its forward makes all T steps of one input itself (it repeats an image, or time is an axis of a sample), so T is "
    "part of the program"
)


def wrong_time_steps(twin: Twin, steps: TimeSteps) -> list[Unsupported]:
    """Returns every neuron that does not take this T, or not a dynamic one."""
    reasons = []
    if steps == "dynamic" and twin.time_input == "image":
        fix = "use target onnx, or let its forward take a sequence [T, B, ...]"
        return [Unsupported("", type(twin.net).__name__, INSIDE, fix)]
    for slot in twin.slots:
        kind, fixed = type(slot.module).__name__, slot.adapter.fixed_steps
        own = "" if slot.adapter.unrolls else slot.adapter.why_not_dynamic
        obstacle = why_not_scanned(twin, slot) if slot.op == "loop" else own
        if steps == "dynamic" and obstacle:
            fix = f"give a number of time steps{f' ({fixed})' if fixed else ''}"
            why = f"it cannot have a dynamic T: {obstacle}"
            reasons.append(Unsupported(slot.path, kind, why, fix))
        elif isinstance(steps, int) and fixed is not None and steps != fixed:
            reasons.append(Unsupported(slot.path, kind, f"it was made for T={fixed}, not {steps}", f"use T={fixed}"))
    return reasons


def not_streaming(twin: Twin, spec: ModelSpec) -> list[Unsupported]:
    """Returns every neuron that cannot be run step by step."""
    if not twin.slots:
        if spec.states:
            return []
        return [Unsupported("", spec.name, "it has no neurons, so there is no time step", "use target onnx")]
    plan = getattr(twin.net, "_draw_plan", None)
    once = plan.once() if plan is not None else ()
    if once:
        why = f"it draws {', '.join(once)} once for all steps of an image, and single steps would draw it anew"
        return [Unsupported("", spec.name, why, "use target onnx, or draw at every step")]
    return [
        Unsupported(slot.path, type(slot.module).__name__, slot.adapter.why_not_streaming, "use the sequence form")
        for slot in twin.slots
        if not slot.adapter.streams
    ]


def growing_over_time(twin: Twin, spec: ModelSpec) -> list[Unsupported]:
    """Returns every declared state that grows in a model that runs over time."""
    why = "it grows with every step, so each of the T steps of a sequence would be a program of its own"
    fix = "give it a fixed size and write into it, or leave the neurons to a model of their own"
    return [Unsupported("", f"state {state.name!r}", why, fix) for state in spec.states if twin.slots and state.grows]


def not_one_step(twin: Twin, spec: ModelSpec, over_time: str) -> list[Unsupported]:
    """Returns every reason why running step by step would not equal running the sequence."""
    reasons = [
        Unsupported(
            slot.path,
            type(slot.module).__name__,
            f"one forward pass runs it {slot.calls} times, and a step-by-step run would interleave them",
            "give each place its own neuron",
        )
        for slot in twin.slots
        if slot.calls > 1 and getattr(slot.module, "step_mode", "m") == "m"
    ]
    kinds = of_each(over_time, len(twin.signature.output_names))
    steps = not reasons and "sequence" in kinds and "auto" not in kinds
    if spec.time_input == "image" and spec.time_steps and not vars(twin.net).get(PLACES):
        why = f"its forward makes all {spec.time_steps} steps of one input itself, and no number of them can be changed"
        fix = "let its forward take [T, B, ...]; of a repeated image, keep T in an attribute: for _ in range(self.T)"
        reasons.append(Unsupported("", spec.name, why, fix))
    elif ("auto" in kinds or (steps and not streams(twin, spec, kinds))) and (own := own_loops(twin.net)):
        reasons += own
    elif "auto" in kinds:
        names = [name for name, kind in zip(twin.signature.output_names, kinds, strict=False) if kind == "auto"]
        which = "its output is" if len(kinds) == 1 else f"output {names[0]} is"
        why = f"{which} neither one per step nor the mean, sum, last or maximum of the steps"
        reasons.append(Unsupported("", spec.name, why, "let it return [T, B, ...]"))
    elif steps and not streams(twin, spec, kinds):
        why = "a step's output depends on other steps, or on its own number, besides its neurons: none can be run alone"
        reasons.append(Unsupported("", spec.name, why, "use the sequence form (target onnx)"))
    return reasons


def own_loops(net: nn.Module) -> list[Unsupported]:
    """Returns every recurrent layer of torch's in a module, as what runs over all steps with a state of its own."""
    why = "it runs over all steps itself, with a state of its own that no single step is given"
    fix = "use target onnx, or its Cell with the state as an input and an output (StateSpec)"
    return [
        Unsupported(path, type(part).__name__, why, fix)
        for path, part in net.named_modules()
        if isinstance(part, nn.RNNBase)
    ]


def specialised(spec: ModelSpec, axis: str, net: nn.Module | None = None) -> UnsupportedError:
    """Returns the error of a program in which an axis that was to be free became a number."""
    recurrent = [] if net is None or axis != "T" else own_loops(net)
    if recurrent:
        why, fix = "torch's exporter needs T as a number for it", "give a number of time steps"
        reasons = [replace(reason, why=why, fix=fix) for reason in recurrent]
        return UnsupportedError(f"model {spec.name!r} cannot have a dynamic T", reasons)
    why = f"its code needs {axis} as a number (a Python loop or a parameter over {axis})"
    fix = {"T": "give a number of time steps", "B": "give a fixed --batch"}.get(axis, "declare a number there")
    return UnsupportedError(f"model {spec.name!r} cannot have a dynamic {axis}", [Unsupported("", spec.name, why, fix)])


def refusal(
    error: Exception, spec: ModelSpec, ports: Sequence[PortInfo | StateInfo], net: nn.Module | None = None
) -> Exception:
    """Returns what an error of torch.export means for the model.

    Args:
        error: The error.
        spec: The model.
        ports: Inputs and states, in the order of the program's inputs.
        net: The module.
    """
    text = str(error).strip()
    name = type(error).__name__
    if "DataDependent" in name or "data-dependent" in text.lower():
        why = "its control flow depends on the values of tensors"
        fix = "use torch.where, or move the decision out of the model"
        path, call = fault_place(error, net)
        reason = Unsupported(path, call or spec.name, why, fix)
        return UnsupportedError(f"model {spec.name!r} cannot be captured", [reason])
    violated = re.search(r"\(L\['(?:x|rest)'\](?:\[(\d+)\])?\.size\(\)\[(\d+)\]", text)
    if violated:
        place = 0 if violated[1] is None else 1 + int(violated[1])
        return specialised(spec, str(ports[place].shape[int(violated[2])]), net)
    first = text.splitlines()[0] if text else name
    why, fix = f"torch.export refused it: {name}: {first[:200]}", "run with --debug for the whole message"
    if "sparse" in first:
        why, fix = f"torch.export takes no sparse tensor ({first[:200]})", "keep it dense: w.to_dense(), with its zeros"
    path, call = fault_place(error, net)
    reason = Unsupported(path, call or spec.name, why, fix)
    return UnsupportedError(f"model {spec.name!r} cannot be captured", [reason])


def refuse_mapped(program: ExportedProgram, name: str) -> None:
    """Refuses a program whose forward maps over samples with torch.vmap: a trace keeps its marks, which nothing runs.

    Args:
        program: The program.
        name: Of the model.

    Raises:
        UnsupportedError: If it does.
    """
    for node in program.graph.nodes:
        if getattr(node.target, "__name__", "") == "_add_batch_dim":
            path = next(reversed(module_paths(node)), "")
            why, fix = "torch.export does not finish what it maps over samples", "write it for the whole batch at once"
            raise UnsupportedError(f"model {name!r} cannot be captured", [Unsupported(path, "torch.vmap", why, fix)])


def loop_over_free_steps(twin: Twin, spec: ModelSpec, error: Exception | None = None) -> UnsupportedError:
    """Returns the error of a loop over time whose number of steps cannot be left free.

    Args:
        twin: The twin.
        spec: The model.
        error: What torch says of an operation that it does not run over all steps.
    """
    fix = "give a number of time steps"
    reasons = [
        Unsupported(
            slot.path,
            type(slot.module).__name__,
            "the module's forward calls it in a loop whose steps are not all alike over any T (one reads its number, "
            "another step, or what the step before made)",
            fix,
        )
        for slot in twin.slots
        if slot.calls > 1 and not slot.adapter.unrolls
    ]
    reasons += [
        Unsupported(
            slot.path,
            type(slot.module).__name__,
            f"it cannot have a dynamic T: {slot.adapter.why_not_dynamic}, and they are no loop over T",
            fix,
        )
        for slot in twin.slots
        if slot.adapter.unrolls
    ]
    reasons += [
        Unsupported(slot.path, type(place.module).__name__, f"its {place.name!r} is state that each step reads", fix)
        for slot in twin.slots
        if isinstance(slot.module, Held)
        for place in slot.module.place
    ]
    if error is not None and not reasons:
        said = (str(error).splitlines() or [""])[0][:200]
        why = f"its steps do not run for any T at once ({type(error).__name__}: {said})"
        reasons = [Unsupported("", spec.name, why, fix)]
    return UnsupportedError(f"model {spec.name!r} cannot have a dynamic T", reasons)


class LaterStepsError(UnsupportedError):
    """A forward does otherwise over more steps than over the first ones.

    Args:
        name: Of the model.
        why: Where, as file and line, and what.
    """

    def __init__(self, name: str, why: str) -> None:
        self.why = why
        reason = Unsupported("", name, why, "give a number of time steps")
        super().__init__(f"model {name!r} cannot have a dynamic T", [reason])
