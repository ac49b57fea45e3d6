"""The exact form of a network: the same spikes on every target, bit for bit, with a proof.

Weights are integers of a few bits times a power of two for each output channel; biases, inputs, thresholds and leaks
lie on matching dyadic grids. Every partial sum then is a number of at most 24 bits, so that float32 adds are exact in
any order. docs/exact.md explains what is proven and what is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from neurokit.capture import Captured, capture
from neurokit.data.labelled import Labelled
from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.exact import limits
from neurokit.exact import plan as planning
from neurokit.exact.against import against_float, erased
from neurokit.exact.bounds import LIMIT
from neurokit.exact.by_step import in_a_row, reads_by_number, single_step
from neurokit.exact.calibration import Given, batch_of, calibration_of, shape_of
from neurokit.exact.finetune import Training, train
from neurokit.exact.fold import fold
from neurokit.exact.folded import Folded
from neurokit.exact.observe import Calibration, observe, observe_steps
from neurokit.exact.proof import LayerProof, Proof, prove
from neurokit.exact.rewrite import Plan, Rounding, export_again, place
from neurokit.exact.starts import rounded_starts
from neurokit.garbage import put_off
from neurokit.neurons.delay import Delay
from neurokit.neurons.loops import Loop
from neurokit.port_traits import refuse_ports
from neurokit.program.element_types import other_types
from neurokit.program.late_code import code_when_called
from neurokit.program.nodes import module_paths
from neurokit.program.ops import is_named
from neurokit.spec import ModelSpec
from neurokit.tasks.evaluate import headline_score, sequences

__all__ = ["Exact", "LayerProof", "Proof", "exact", "exact_finetune"]

_ROUNDS = 6
_CALIBRATED_ON = 256  # training samples, where fine-tuning is given no calibration data


@dataclass(frozen=True)
class Exact:
    """A network in its exact form.

    Attributes:
        captured: The exact program; every target takes it like any other.
        proof: What is proven of it.
        plan: Its numbers as integers and exponents.
        bits: Bits of a weight.
        rates: Spikes a decision on the calibration data, by neuron call.
        notes: What was approximated.
        source: The program that it was made from.
        erased: Layers that nothing is left of; such a form is not lowered.
        against_float: How far it is from the float network on the calibration data.
    """

    captured: Captured
    proof: Proof
    plan: Plan
    bits: int
    rates: tuple[float, ...]
    notes: tuple[str, ...]
    source: Captured
    erased: tuple[Unsupported, ...] = ()
    against_float: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Exact({self.captured!r}, {self.bits} bits, {len(self.proof.layers)} layers proven)"

    def to_json(self) -> dict[str, Any]:
        """Returns what a manifest says."""
        return {"bits": self.bits, "notes": list(self.notes), **planning.as_json(self.plan), **self.proof.to_json()}


@put_off()
@code_when_called()
def exact(
    model: Captured | ModelSpec, calibration: Given | None = None, *, bits: int = 8, search: bool | None = None
) -> Exact:
    """Turns a model into its exact form.

    Args:
        model: A captured model, or a spec. Re-parameterised branches are merged.
        calibration: Inputs `[T, B, *shape]` (`[B, *shape]` for images and without time); default is the spec's
            example, which calibrates ranges but tells little of real data. Of several inputs by name.
        bits: Bits of a weight, 2 to 8.
        search: Whether to search for the rounding that keeps the sums; default is with calibration data.

    Returns:
        The exact form. Its proof says whether it is exact, and what to change if not.

    Raises:
        InputError: If the bits or the calibration data do not fit.
        UnsupportedError: If the model cannot be captured.
    """
    _check_bits(bits)
    search = (calibration is not None) if search is None else search
    job = _prepare(model, calibration, search)
    return _finish(job, job.folded, bits, search)


def exact_finetune(
    model: Captured | ModelSpec,
    data: Labelled,
    calibration: Given | None = None,
    *,
    bits: int = 4,
    epochs: int = 20,
    learning_rate: float = 0.02,
    batch: int = 64,
    seed: int = 0,
) -> Exact:
    """Turns a model into its exact form and trains it on its grid, for few bits and what they lose.

    Args:
        model: A captured model, or a spec.
        data: Labelled training data, `[N, *shape]` (or `[N, T, *shape]`). Keep what accuracy is measured on out of it.
        calibration: As for `exact`; default are the first 256 training samples.
        bits: Bits of a weight, 2 to 8.
        epochs: Passes over the data.
        learning_rate: Largest step of a weight, in units of its grid.
        batch: Samples a step.
        seed: Of the order of the samples; the same seed gives the same weights on one machine.

    Returns:
        The exact form after training, or without it where training did not help on its own data; a note says which.

    Raises:
        InputError: If bits, data or settings do not fit, or the neurons have no surrogate gradient.
        UnsupportedError: If the model cannot be captured.
    """
    _check_bits(bits)
    how = Training(epochs, learning_rate, batch, seed)
    captured = _merged(model)
    if len(captured.spec.inputs) > 1:
        names = ", ".join(port.name for port in captured.spec.inputs)
        raise InputError(
            f"fine-tuning feeds one input, and model {captured.spec.name!r} has {names}",
            expected="a model with one input",
            fix="leave fine-tuning away: the exact form itself takes several inputs",
        )
    inputs = Labelled(sequences(captured, data), data.y, data.name)
    calibration = _first_samples(captured, inputs) if calibration is None else calibration
    job = _prepare(captured, calibration, True, by_step=False)
    made = _finish(job, job.folded, bits, True)
    placed = place(_folded(job.reference, job.steps), made.plan)
    trained = train(job.reference, job.folded, placed, made.plan, bits, inputs, how)
    folded = _folded(job.reference, job.steps)
    for index, (weight, bias) in enumerate(trained):
        folded.set(index, weight, bias)
    tuned = _finish(job, folded, bits, False)
    before, after = (headline_score(each.captured, inputs) for each in (made, tuned))
    said = f"accuracy on the training data {before:.2%} before and {after:.2%} after {epochs} epochs of fine-tuning"
    if after < before or (made.proof.status == "exact" != tuned.proof.status):
        return replace(made, notes=(*made.notes, f"{said}: it is left out"))
    return replace(tuned, notes=(*tuned.notes, said))


@dataclass(frozen=True)
class _Job:
    """What planning starts from: the model in two forms, folded, and what it saw."""

    original: Captured
    reference: Captured
    folded: Folded
    x: tuple[Tensor, ...]
    seen: Calibration
    roundings: tuple[Rounding, ...]
    steps: int | None
    calibrated: bool
    by_step: bool


def _refuse_loops(captured: Captured) -> None:
    """Refuses recurrent connections and delays: a bound on sums is proven layer after layer, in one pass."""
    why, fix = "the proof goes layer after layer and knows no value of an earlier step", "use --numerics float"
    named = [(path.removeprefix("net").removeprefix("."), part) for path, part in captured.module.named_modules()]
    reasons = [
        Unsupported(path, type(part).__name__, why, fix) for path, part in named if isinstance(part, Loop | Delay)
    ]
    if reasons:
        raise UnsupportedError(f"model {captured.spec.name!r} has no exact form", reasons)


def _refuse_parts(captured: Captured) -> None:
    """Refuses what is no sum of products from the start: bags of rows, neurons without a single step."""
    fix = "use --numerics float"
    reasons = [
        Unsupported(
            next(iter(module_paths(node)[::-1]), ""), "embedding_bag", "it adds up as many rows as data say", fix
        )
        for node in captured.program.graph.nodes
        if is_named(node, ("embedding_bag",))
    ]
    reasons += [
        Unsupported(n.path, n.kind, "it weighs its steps by numbers of their own, and no bound on that is proven", fix)
        for n in captured.neurons
        if n.kind in ("PSN", "MaskedPSN", "SlidingPSN")
    ]
    if reasons:
        raise UnsupportedError(f"model {captured.spec.name!r} has no exact form", reasons)


def check_spec(spec: ModelSpec) -> None:
    """Refuses a model that has no exact form because of its ports, before it is captured.

    Raises:
        UnsupportedError: If it has several graphs, declared states, or free axes.
    """
    refuse_ports(spec, ("dtypes", "inputs"), "the exact form", "leave --numerics exact away")


def _folded(captured: Captured, steps: int | None) -> Folded:
    return fold(captured.program, steps, len(captured.output_names))


def _prepare(model: Captured | ModelSpec, calibration: Given | None, search: bool, by_step: bool = True) -> _Job:
    check_spec(model if isinstance(model, ModelSpec) else model.whole_spec)
    original = _merged(model)
    if wrong := other_types(original, "the exact form keeps whole numbers in"):
        raise UnsupportedError(f"model {original.spec.name!r} cannot be exact", wrong)
    _refuse_loops(original)
    _refuse_parts(original)
    step = single_step(original) if by_step and original.spiking else None
    reference = rounded_starts(_reference(original) if step is None else step)
    x = calibration_of(reference, calibration)
    steps = reference.time_steps if isinstance(reference.time_steps, int) else None
    folded = _folded(reference, None if step else steps)
    states = reference.initial_states(batch_of(reference, x[0]))
    seen = observe(folded, (*x, *states), search) if step is None else observe_steps(folded, x, states, search)
    ports = zip(x, reference.spec.inputs, strict=True)
    roundings = tuple(planning.input_rounding(values.float(), port.low, port.high) for values, port in ports)
    return _Job(original, reference, folded, x, seen, roundings, steps, calibration is not None, step is not None)


def _finish(job: _Job, folded: Folded, bits: int, search: bool) -> Exact:
    """Plans, builds and proves; coarsens what the proof rejects, and again."""
    reference, original, steps = job.reference, job.original, job.steps
    one = 1 if reference.batch == "dynamic" else reference.batch
    shapes = [shape_of(reference, port, one)[job.by_step :] for port in reference.spec.inputs]
    states = reference.initial_states(one)
    draft = planning.draft(folded, job.seen, job.roundings, shapes, states, steps or 1, bits, job.by_step)
    for _ in range(_ROUNDS):
        numbers = replace(planning.fill(folded, job.seen, draft, bits, search), by_step=job.by_step)
        made = build(reference, numbers)
        proof, found = prove(made.program, made.calls, states, steps, job.by_step)
        if proof.status == "exact" or not planning.raise_floors(draft, found, job.seen, LIMIT):
            break
    final = made if original.form == reference.form and original.time_steps == steps else build(original, numbers)
    results = {i: seen.result for i, seen in job.seen.linears.items()}
    lost = limits.lost(numbers.results, folded.names, results)
    lost += limits.lost(numbers.currents, list(reference.calls), dict(enumerate(job.seen.currents)))
    notes = (*_notes(folded.notes + lost), *(() if job.calibrated else (_UNCALIBRATED,)))
    gone = erased(folded, numbers, job.seen, reference.calls)
    data = "the calibration data" if job.calibrated else "the model's example input"
    whole = _reference(original)
    same = final if whole is original else build(whole, numbers) if job.by_step else made
    apart = against_float(whole, same, job.x, data)
    return Exact(final, proof, numbers, bits, tuple(job.seen.rates), notes, original, tuple(gone), apart)


def _check_bits(bits: int) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
        raise InputError(f"bits={bits!r}", expected="a whole number from 2 to 8")


def _first_samples(captured: Captured, inputs: Labelled) -> Tensor:
    timed = captured.spiking and captured.spec.time_input != "image"
    size = captured.batch if isinstance(captured.batch, int) else _CALIBRATED_ON
    (given,) = inputs.named([captured.spec.inputs[0].name]).values()
    x = torch.from_numpy(given[:size])
    return x.transpose(0, 1).contiguous() if timed else x


_UNCALIBRATED = "calibrated on the model's example input only: give calibration data for accuracy"


@put_off()
@code_when_called()
def build(captured: Captured, numbers: Plan) -> Captured:
    """Returns a captured model with a plan's numbers; the plan fits every form of the model it was made for."""
    if numbers.by_step and captured.form == "sequence":
        return _in_a_row(captured, numbers)
    steps = captured.time_steps if isinstance(captured.time_steps, int) and captured.form == "sequence" else None
    if captured.form == "step" and reads_by_number(captured):
        raise _other_layers(captured)
    folded = _folded(captured, steps)
    same = len(folded.linears) == len(numbers.linears) and len(folded.scales) == len(numbers.scales)
    if not same or len(folded.parameters) != len(captured.calls):
        raise _other_layers(captured)
    _refuse_rounded_shares(captured, folded)
    program = export_again(place(folded, numbers), captured.program)
    changes = dict(zip(captured.calls, folded.parameters, strict=True))
    neurons = tuple(_neuron(neuron, changes.get(neuron.path, {})) for neuron in captured.neurons)
    resets = {n.path: (n.parameters.get("v_reset"), changes.get(n.path, {}).get("v_reset")) for n in captured.neurons}
    begun = rounded_starts(captured).states
    states = tuple(_state(state, *resets.get(state.neuron, (None, None))) for state in begun)
    return replace(captured, program=program, neurons=neurons, states=states, retrace=_retrace(captured, numbers))


def _retrace(captured: Captured, numbers: Plan) -> Callable[..., Captured]:
    """Returns what makes other forms of a captured model with a plan's numbers; a form is made once."""
    made: dict[str, Captured] = {}

    def retrace(**forms: Any) -> Captured:
        key = str(sorted(forms.items()))
        if key not in made:
            made[key] = build(captured.retrace(**forms), numbers)
        return made[key]

    return retrace


def _in_a_row(captured: Captured, numbers: Plan) -> Captured:
    """Returns the sequence of a model whose single step has a plan.

    Raises:
        UnsupportedError: If T is free.
    """
    steps = captured.time_steps
    if not isinstance(steps, int):
        raise _other_layers(captured)
    step = build(captured.retrace(form="step", time_steps=steps), numbers)
    return replace(in_a_row(step, captured), retrace=_retrace(captured, numbers))


def _refuse_rounded_shares(captured: Captured, folded: Folded) -> None:
    """Refuses a single step whose output is divided last, where what reads it averages or adds the steps."""
    kinds = captured.output_kinds if captured.form == "step" else ()
    names = [captured.output_names[at] for at in sorted(folded.divided) if kinds[at : at + 1] in (("mean",), ("sum",))]
    if names:
        why = (
            "it is divided by a number that is no power of two and then added up over time: every step would be rounded"
        )
        fix = "use --target onnx, which rounds it once, or let it return the steps"
        reasons = [Unsupported("", f"output {name}", why, fix) for name in names]
        raise UnsupportedError(f"model {captured.spec.name!r} has no exact form that runs step by step", reasons)


def _other_layers(captured: Captured) -> UnsupportedError:
    """Returns the error of a form that has not the layers that a plan holds the numbers of."""
    name = captured.spec.name
    why = (
        "a step of it reads what the one before made, or calls a neuron several times, so the sequence holds layers "
        "once a step, each on grids of its own, and this form holds them once"
    )
    fix = "use --target onnx, which has a number of steps"
    return UnsupportedError(
        f"model {name!r} has no exact form that runs step by step", [Unsupported("", name, why, fix)]
    )


def refuse(made: Exact) -> None:
    """Raises UnsupportedError if rounding remains in a sum or a layer is erased; lists each with what to change.

    Raises:
        UnsupportedError: As said.
    """
    name = made.captured.spec.name
    if made.erased:
        raise UnsupportedError(f"the exact form of model {name!r} would leave nothing of a layer", made.erased)
    if made.proof.status != "inexact":
        return
    reasons = [
        Unsupported(layer.name, layer.kind, layer.why, layer.fix)
        for layer in made.proof.layers
        if layer.status == "inexact"
    ]
    raise UnsupportedError(
        f"model {name!r} cannot be exact: tolerance applies from {made.proof.tolerance_from!r} on",
        reasons,
        expected="sums of products that stay below 2**24 units of their grid",
        fix="--numerics float",
    )


def _merged(model: Captured | ModelSpec) -> Captured:
    if isinstance(model, ModelSpec):
        return capture(model, merge=model.merge_reparameterised is not None, compare=True)
    if model.reparameterisation != "kept":
        return model
    steps = model.time_steps
    merged = capture(model.spec, time_steps=steps, batch=model.batch, form=model.form, merge=True)
    return replace(merged, fidelity=model.fidelity)


def _reference(captured: Captured) -> Captured:
    """Returns the form in which grids are chosen and proven: a sequence of known length."""
    if not captured.spiking:
        return captured
    steps = captured.known_steps
    if captured.form == "sequence" and captured.time_steps == steps:
        return captured
    return captured.retrace(form="sequence", time_steps=steps)


def _neuron(neuron: Any, changed: dict[str, Any]) -> Any:
    changed = dict(changed)
    op = changed.pop("op", neuron.op)
    known = {k: v for k, v in changed.items() if k in neuron.parameters or k in ("decay", "tau")}
    return replace(neuron, op=op, parameters={**neuron.parameters, **known}) if known else neuron


def _state(state: Any, old: float | None, new: float | None) -> Any:
    at_rest = new is not None and old is not None and state.uniform and state.init == old
    return replace(state, init=new) if at_rest else state


def _notes(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))
