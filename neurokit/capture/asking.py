"""Asks a user's module what a capture of it is held against, and refuses modules that have no one answer."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.capture.blame import batch_reason, random_reason, shared_state
from neurokit.capture.distance import distance, equal
from neurokit.capture.eager import Run, rest, run, run_here
from neurokit.capture.hidden import Held
from neurokit.capture.raised import failing_part, raised_at
from neurokit.capture.sides import run_program, stimulus
from neurokit.capture.twin import over_time
from neurokit.capture.types import Captured
from neurokit.capture.work import WorkCounter
from neurokit.errors import RandomNumbersError, Unsupported, UnsupportedError
from neurokit.over_time import batch_axes, of_each
from neurokit.reports.fidelity import Comparison

_BATCHES = {True: (3, 1), False: (2, 1)}  # of a quick model, and of a slow one
_QUICK = 6e9  # operations of a sample; one of more is compared in its own precision: float64 is several times as slow
_BUDGET_S = 10.0  # of this thread's own time, whatever runs beside it: what is not begun by then is left out, and said
# Relative error of an output that rounding alone stays below, and share of decisions that it may flip.
TOLERANCE = {"float64": (1e-6, 0.0), "adopted": (1e-3, 1e-3), "native": (1e-3, 1e-3)}


@dataclass
class Case:
    """One run of the user's module: its input, and what it gave."""

    steps: int | None
    batch: int
    x: Tensor
    want: Run


class Job:
    """One comparison of one capture."""

    def __init__(self, eager: nn.Module, captured: Captured) -> None:
        self.eager, self.captured, self.spec = eager, captured, captured.spec
        self.twin: Any = captured.module
        self.stepwise = captured.spiking and self.spec.time_input == "step"
        self.start, self.spent = time.perf_counter(), time.thread_time()
        self.programs: dict[bool, Any] = {}  # of the capture, in its own types and in float64
        self._asked: list[tuple[Tensor, Run]] = []  # what the module was asked before the cases, and answered
        self._ran: list[tuple[Tensor, Run]] = []  # the same of the program
        self.double = False
        self.quick = self._work_of_a_sample() < _QUICK
        self.double = self.quick and self._runs_in_double()
        slots: Any = self.twin.slots
        adopted = any(getattr(slot.module, "_neurokit_adopted", False) for slot in slots)
        self.precision = "float64" if self.double else self.spec.inputs[0].dtype
        self.tolerance = TOLERANCE["native" if not self.double else "adopted" if adopted else "float64"]
        self.made: list[Comparison] = []
        self.findings: list[str] = []
        self.refused: dict[str, str] = {}
        self.left_out: list[str] = []
        self.fired = True

    def input(self, steps: int | None, batch: int, scale: float = 1.0) -> Tensor:
        """Returns an input in the type that both sides run in."""
        x = stimulus(self.spec, steps, batch, scale)
        return x.double() if self.double and x.is_floating_point() else x

    def run(self, x: Tensor, seed: int = 0) -> Run:
        """Runs the module from rest, as its user calls it; what it answered before is not asked again."""
        if seed == 0 and (known := _known(self._asked, x)) is not None:
            return known
        return self._joined(run(self.eager, x, stepwise=self.stepwise, paths=self.captured.calls, seed=seed))

    def run_program(self, x: Tensor) -> Run:
        """Runs the program in the type of the comparison, unless it has been run on this input."""
        known = _known(self._ran, x)
        return run_program(self.captured, x, self.double, self.programs) if known is None else known

    def run_in_double(self, x: Tensor) -> Run:
        """Runs a copy of the module in float64, whatever type the comparison is in."""
        eager = copy.deepcopy(self.eager).double()
        return self._joined(run_here(eager, x.double(), stepwise=self.stepwise, paths=self.captured.calls))

    def _joined(self, found: Run) -> Run:
        if self.stepwise:  # one step a call: what the steps mean together is the specification's
            kinds = of_each(self.captured.time_output, len(found.outputs))
            found.outputs = tuple(over_time(y, kind) for y, kind in zip(found.outputs, kinds, strict=True))
        return found

    def _work_of_a_sample(self) -> float:
        """Runs the module once as it is, and returns the operations that it takes for a sample.

        Raises:
            UnsupportedError: If it does not run.
        """
        captured = self.captured
        batch = captured.batch if isinstance(captured.batch, int) else 1 if captured.calls else _BATCHES[False][0]
        x = self.input(captured.known_steps, batch)
        with WorkCounter() as counter:
            found = self._asked_first(x)
        # Counting may part a product from its sum: rounding, which moves decisions of neurons, and no more.
        if not captured.calls:
            self._asked.append((x, found))
        return counter.work / batch

    def _asked_first(self, x: Tensor) -> Run:
        try:
            return self.run(x)
        except Exception as error:
            raise self.failed(x, error) from error

    def failed(self, x: Tensor, error: Exception) -> UnsupportedError:
        """Returns the refusal of a module that does not run by itself on an input of its declared range."""
        called = "once a step" if self.stepwise else f"on {list(x.shape)}"
        port = self.spec.inputs[0]
        values = f"values from {port.low:g} to {port.high:g}"
        why = f"called {called} with {values}, the module itself fails: {one_line(error)}"
        fix = "mend the module, or say what it takes in a ModelSpec: TensorSpec(..., low=, high=)"
        path, kind = failing_part(error, self.eager)
        reason = Unsupported(path, kind, why, fix)
        return UnsupportedError(f"model {self.spec.name!r} does not run in its own library", [reason])

    def _runs_in_double(self) -> bool:
        """Brings the comparison to float64 where module and program both run in it, and returns whether they do."""
        captured, eager, asked = self.captured, self.eager, self._asked
        try:
            self.double, self._asked = True, []
            x = self.input(captured.known_steps, _sizes(self)[0])
            self.eager = copy.deepcopy(eager).double()
            alone = x.narrow(batch_axis(captured, x), 0, 1) if captured.batch == "dynamic" else x
            answer = self.run(alone)
            self._ran.append((x, self.run_program(x)))  # a program with a free batch may not take one of 1
            self._asked.append((alone, answer))
        except Exception:  # whatever a user's code raises
            self.eager, self._asked, self._ran = eager, asked, []
            return False
        return True

    def late(self, what: str) -> bool:
        """Returns whether the time is spent, and notes what is left out then."""
        if time.thread_time() - self.spent < _BUDGET_S:
            return False
        self.left_out.append(f"{what}: {_BUDGET_S:.0f} s were spent")
        return True


def _known(runs: list[tuple[Tensor, Run]], x: Tensor) -> Run | None:
    return next((found for asked, found in runs if asked.dtype == x.dtype and torch.equal(asked, x)), None)


def _sizes(job: Job) -> tuple[int, ...]:
    """Returns the numbers of samples that are asked: several, and one."""
    captured = job.captured
    return (captured.batch,) if isinstance(captured.batch, int) else _BATCHES[job.quick and captured.known_steps != 3]


def cases(job: Job) -> tuple[Case, Case]:
    """Runs the module on three samples, loud enough for its output to move, and on the first of them alone."""
    captured = job.captured
    steps, sizes = captured.known_steps, _sizes(job)
    for scale in (1.0, 10.0, 100.0):
        try:
            louder = job.input(steps, sizes[0], scale)
            x, want = louder, job.run(louder)
        except Exception as error:  # an index that is made of the input, a range that it checks
            if scale == 1.0:
                raise job.failed(job.input(steps, sizes[0]), error) from error
            job.left_out.append(f"an input {scale:.0f} times as loud: {one_line(error)}")
            break
        job.fired = any(bool((y != y.flatten()[:1]).any()) for y in want.outputs if y.numel() > 1)
        if job.fired or not x.is_floating_point() or job.late("louder inputs"):
            break
    first = Case(steps, sizes[0], x, want)
    if not job.fired:
        job.findings.append("no output moved on any input that was tried: the comparison with the module says little")
    if sizes[0] == 1:
        return first, first
    single = x.narrow(batch_axis(captured, x), 0, 1)
    try:
        return first, Case(steps, 1, single, job.run(single))
    except Exception as error:
        job.left_out.append(f"one sample: the module takes none ({one_line(error)})")
        return first, first


def batch_axis(captured: Captured, x: Tensor) -> int:
    """Returns the axis of the batch in an input."""
    return x.dim() - len(captured.spec.inputs[0].shape) - 1


def steps_at_once(job: Job, case: Case) -> None:
    """Refuses a sequence that is given to neurons of one step: they would take its time for one more batch."""
    if job.stepwise or case.steps in (None, 1, case.batch):
        return
    reasons = [
        Unsupported(
            path,
            type(job.eager.get_submodule(path)).__name__,
            f"it takes one step a call and is given [T={case.steps}, B={case.batch}, ...] at once, so that no membrane "
            "carries over from step to step",
            'ModelSpec(time_input="step"), or call it once a step in forward',
        )
        for path, shape in case.want.at_once.items()
        if shape[:2] == (case.steps, case.batch)
    ]
    if reasons:
        raise UnsupportedError(f"model {job.spec.name!r} would lose its time", reasons)


def same_twice(job: Job, case: Case) -> None:
    """Refuses a module that answers the same question differently."""
    name = job.spec.name
    again = job.run(case.x, seed=1)
    if not equal(again.outputs, case.want.outputs):
        reason = random_reason(job.eager, case.x, job.stepwise)
        raise RandomNumbersError(f"model {name!r} draws random numbers", [reason])
    if not case.want.changed or job.late("the same question twice"):
        return
    used = copy.deepcopy(job.eager)
    run_here(used, case.x, stepwise=job.stepwise)
    second = run_here(rest(used), case.x, stepwise=job.stepwise)
    if equal(second.outputs, case.want.outputs):
        return
    states = _known_states(job)
    if states and equal(_from_the_start(job, used, states, case.x).outputs, case.want.outputs):
        job.findings.append(
            f"no reset of the module clears {', '.join(states)}: a reset artifact starts from its values"
        )
    else:
        reasons = [shared_state(name, case.want.changed)]
        raise UnsupportedError(f"model {name!r} keeps something from call to call that no reset clears", reasons)


def _known_states(job: Job) -> dict[str, tuple[str, str]]:
    """Returns the attributes and buffers that are states of the program: module path and name of each, by both."""
    places = [slot.module.place[0] for slot in job.twin.slots if isinstance(slot.module, Held)]
    return {f"{place.path}.{place.name}".lstrip("."): (place.path, place.name) for place in places}


def _from_the_start(job: Job, used: nn.Module, states: Mapping[str, tuple[str, str]], x: Tensor) -> Run:
    """Runs a module that has run before from rest, and from the states that it was made with."""
    again = rest(used)
    for path, name in states.values():
        setattr(again.get_submodule(path), name, copy.deepcopy(getattr(job.eager.get_submodule(path), name)))
    return run_here(again, x, stepwise=job.stepwise)


def own_answers(job: Job, first: Case, alone: Case) -> None:
    """Finds out whether a sample's answer depends on the samples beside it: alone, and beside much louder ones."""
    if first.batch == 1:
        return
    runs = [] if first is alone else [(alone.x, alone.want)]
    if not job.late("a sample beside louder ones"):
        loud, place = first.x.clone(), batch_axis(job.captured, first.x)
        others = loud.narrow(place, 1, first.batch - 1)
        others.copy_(others * 5 + 1 if loud.is_floating_point() else others.flip(-1))
        try:
            runs.append((loud, job.run(loud)))
        except Exception as error:  # a module may look at the range of its input
            job.left_out.append(f"a sample beside louder ones: {one_line(error)}")
    for x, other in runs:
        if _own(job, first.batch, first.want, other, 1e-6 if job.double else job.tolerance[0]):
            continue
        if not job.double and _own_in_double(job, first, x):
            continue  # rounding alone: another batch is another order of summation, and a flip may cascade
        job.refused["batch"] = batch_reason()
        job.findings.append(job.refused["batch"])
        return


def _own(job: Job, batch: int, first: Run, other: Run, tolerance: float) -> bool:
    """Returns whether the first sample has the same answer in two runs."""
    captured = job.captured
    shapes = [port.shape for port in captured.outputs]
    fixed = captured.batch if isinstance(captured.batch, int) else 0
    axes = batch_axes(captured.time_output if captured.spiking else "last", len(first.outputs), shapes, fixed)
    for axis, many, one in zip(axes, first.outputs, other.outputs, strict=False):
        if min(many.dim(), one.dim()) <= axis or many.shape[axis] != batch:
            continue
        mine, theirs = many.narrow(axis, 0, 1), one.narrow(axis, 0, 1)
        if mine.numel() == theirs.numel() and distance(mine, theirs) > tolerance:
            return False
    return True


def _own_in_double(job: Job, first: Case, x: Tensor) -> bool:
    """Returns whether the module runs in float64 and the first sample has the same answer there."""
    if not x.is_floating_point():
        return False
    try:
        many, one = job.run_in_double(first.x), job.run_in_double(x)
    except Exception:  # whatever a user's code raises
        return False
    return _own(job, first.batch, many, one, TOLERANCE["float64"][0])


def one_line(error: BaseException) -> str:
    """Returns an error's type and the first line of its message, or the line of code of one without a message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:160] if text else raised_at(error)}"
