"""Holds a capture against the user's own module, run by its own library, before anything is made of it.

Everything behind the capture has the captured program for its reference, so a mistake of the capture would be shared
by all of it. Here the module itself is the reference: called as its user calls it, on fresh inputs, in float64 where
it runs, for two numbers of steps and two batches, whole and in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from time import perf_counter
from typing import Any

from torch import nn

from neurokit.capture.asking import (
    Case,
    Job,
    cases,
    one_line,
    own_answers,
    same_twice,
    steps_at_once,
)
from neurokit.capture.blame import reason_for
from neurokit.capture.distance import compared
from neurokit.capture.double_precision import in_double_precision
from neurokit.capture.eager import Run
from neurokit.capture.fidelity_calls import hold_calls
from neurokit.capture.obstacles import not_one_step, not_streaming
from neurokit.capture.probe import in_double
from neurokit.capture.sides import comparable, run_steps, run_twin
from neurokit.capture.twin import Twin
from neurokit.capture.types import Captured
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.reports.fidelity import Fidelity, Side

_OTHER_STEPS = 2  # how many steps more the second number of steps is


def hold_against(eager: nn.Module, captured: Captured) -> Captured:
    """Compares a capture with its user's module and returns it with what was found.

    Args:
        eager: The module (`neurokit.capture.eager.untouched`); it is used up.
        captured: The capture.

    Returns:
        The capture with `fidelity`; forms in which it would be another network are refused when they are asked for.

    Raises:
        UnsupportedError: If the program is another network than the module, or the module draws random numbers or
            answers by what it was asked before; says what is at fault.
    """
    if captured.parts or not comparable(captured.spec):
        return hold_calls(eager, captured)
    job = Job(eager, captured)
    first, alone = cases(job)
    steps_at_once(job, first)
    same_twice(job, alone)
    own_answers(job, first, alone)
    for case in (first, alone):
        if isinstance(captured.batch, int) and case.batch != captured.batch:
            continue
        if case is first or not job.late(f"the program at B = {case.batch}"):
            _hold(job, "program", case, lambda case: job.run_program(case.x))
    _other_steps(job, alone)
    _in_steps(job, alone)
    report = Fidelity(
        model=captured.spec.name,
        comparisons=tuple(job.made),
        findings=tuple(job.findings),
        refused=job.refused,
        not_compared=tuple(job.left_out),
        fired=job.fired,
        seconds=perf_counter() - job.start,
    )
    return _guarded(captured, report)


def _guarded(captured: Captured, report: Fidelity) -> Captured:
    """Returns a capture that refuses the forms in which it would be another network."""

    def retrace(**changes: Any) -> Captured:
        if changes.get("form", captured.form) == "step" and "step" in report.refused:
            reason = Unsupported("", captured.spec.name, report.refused["step"], "use a form of whole sequences")
            raise UnsupportedError(f"model {captured.spec.name!r} is another network one step at a time", [reason])
        return replace(captured.retrace(**changes), retrace=retrace, fidelity=report)

    notes = (*captured.notes, *report.findings)
    return replace(captured, retrace=retrace, fidelity=report, notes=notes)


def refuse_batch(captured: Captured, batch: int | str) -> None:
    """Refuses a batch of more than one sample where a sample's answer depends on the others.

    Raises:
        UnsupportedError: As said.
    """
    report = captured.fidelity
    if report is not None and "batch" in report.refused and batch != 1:
        reason = Unsupported("", captured.spec.name, report.refused["batch"], "lower it for one sample: --batch 1")
        raise UnsupportedError(f"model {captured.spec.name!r} mixes the samples of a batch", [reason])


def _hold(job: Job, side: Side, case: Case, other: Callable[[Case], Run]) -> bool:
    """Runs one side and notes how it compares; returns whether it could be run.

    Raises:
        UnsupportedError: If the program is another network than the module.
    """
    try:
        with _quiet_double(job, side):
            found = other(case)
    except UnsupportedError as error:
        if side != "steps":
            raise
        job.refused["step"] = getattr(error.reasons[0], "why", error.what) if error.reasons else error.what
        return True
    except Exception as error:
        job.left_out.append(f"{_NAMES[side]} at T = {case.steps}, B = {case.batch}: {one_line(error)}")
        return False
    one = compared(side, case, found, job.precision)
    tolerance, share = job.tolerance
    flips_fit = one.spikes_differ <= share * one.decisions
    fits = flips_fit and (one.output_error <= tolerance or one.spikes_differ > 0)
    if fits:
        job.made.append(one)
        return True
    again = (job,) if side == "program" else (job, side, case, other)
    if not job.double and (exact := in_double_precision(*again)) is not None:
        job.made.append(exact)  # rounding alone parts them: in float64 not one decision differs
        return True
    reason = reason_for(job, side, case, one)
    if side == "steps":
        job.refused["step"] = reason.why
        job.findings.append(f"one step at a time it would be another network: {reason.why}")
        return True
    if side == "twin":
        job.findings.append(f"with T = {case.steps} it would be another network than its module: {reason.why}")
        return True
    raise UnsupportedError(f"model {job.spec.name!r} would be captured as another network", [reason])


_NAMES = {"program": "the program", "twin": "another number of steps", "steps": "one step at a time"}


def _other_steps(job: Job, alone: Case) -> None:
    """Compares a second number of steps: of the program where T is free, else of what would be traced for it."""
    captured = job.captured
    if alone.steps is None or job.late("another number of steps"):
        return
    if any(slot.adapter.fixed_steps for slot in job.twin.slots) or job.spec.time_input == "image":
        return
    steps = alone.steps + _OTHER_STEPS
    try:
        x = job.input(steps, alone.batch)
        case = Case(steps, alone.batch, x, job.run(x))
    except Exception as error:
        job.left_out.append(f"T = {steps}: the module takes no other number of steps ({one_line(error)})")
        return
    if len(case.want.outputs) != len(captured.output_names):
        job.left_out.append(f"T = {steps}: it returns {len(case.want.outputs)} outputs there, as a list of steps does")
        return
    if captured.time_steps == "dynamic":
        _hold(job, "program", case, lambda case: job.run_program(case.x))
    else:
        _hold(job, "twin", case, lambda case: run_twin(job.twin, captured, case.x))


def _in_steps(job: Job, alone: Case) -> None:
    """Compares one step a call, where the model has such a form."""
    captured = job.captured
    if alone.steps is None or job.late("one step at a time"):
        return
    twin: Twin = job.twin
    if not_streaming(twin, job.spec) or not_one_step(twin, job.spec, captured.time_output):
        return
    _hold(job, "steps", alone, lambda case: run_steps(twin, captured, case.x, case.steps or 1))


@contextmanager
def _quiet_double(job: Job, side: Side) -> Iterator[None]:
    """Runs the twin in float64 where the module ran in it; the program brings its own copy."""
    with in_double(job.twin) if job.double and side != "program" else nullcontext():
        yield
