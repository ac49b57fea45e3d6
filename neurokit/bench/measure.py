"""One measurement from start to end: open, check, warm up, time, and say what the machine did meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import provenance
from neurokit import statistics as samples
from neurokit.bench import environment, memory, meters, method
from neurokit.bench.job import Job
from neurokit.bench.subject import Answer, Subject
from neurokit.bench.task_scores import add_scores, refuse_data
from neurokit.errors import InputError

Emit = Callable[[dict[str, Any]], None]
SCHEMA_VERSION = 1


def measure(
    subject: Subject,
    job: Job,
    *,
    emit: Emit | None = None,
    look: Callable[[], environment.Snapshot] = environment.look,
    clock: method.Clock = time.perf_counter,
) -> dict[str, Any]:
    """Measures one subject in one scenario.

    Args:
        subject: What to measure.
        job: How.
        emit: Is told what is known so far, so that a run that breaks off leaves what it measured.
        look: Takes a snapshot of the machine.
        clock: Time in seconds.

    Returns:
        A latency report as JSON.

    Raises:
        InputError: If the subject cannot run the scenario or the batch size, or the data does not fit.
    """
    batch = _refuse_unfit(subject, job)
    if job.data:
        refuse_data(subject, Path(job.data))
    row: dict[str, Any] = _head(subject, job, batch)
    say = emit or (lambda event: None)
    memory.reset_peak()
    added_from = memory.resident()[0]
    with ExitStack() as stack:
        say({"event": "doing", "what": subject.opening})
        start = clock()
        runner = stack.enter_context(subject.open())
        row["load_s"] = clock() - start
        call, first = _calls(subject, job, runner, batch, stack)
        say({"event": "doing", "what": subject.starting})
        start = clock()
        first()
        row["first_s"] = clock() - start
        getattr(runner, "prepared", lambda: None)()
        row["output_error"] = None if callable(subject.expected) else _output_error(subject, runner, subject.expected)
        say({"event": "about", "row": row})
        found, reasons = _timed(call, job, runner, row, emit, look, clock)
        row["memory"] = memory.peak(added_from)
        row["environment"] |= _runtime(runner)
        if callable(subject.expected):  # last, as making it takes memory of its own
            row["output_error"] = _output_error(subject, runner, subject.expected())
        if job.data:
            say({"event": "doing", "what": "scoring labelled data"})
            add_scores(row, subject, runner, Path(job.data))
    reasons += samples.faults(found, row["elapsed_s"])
    return {**row, "samples_s": _nanoseconds(found), "verdict": "INVALID" if reasons else "VALID", "reasons": reasons}


def _head(subject: Subject, job: Job, batch: int) -> dict[str, Any]:
    failed = subject.parity in ("failed", "not verified")
    return {
        "report": "latency",
        "schema_version": SCHEMA_VERSION,
        "model": subject.model,
        "target": subject.target,
        "scenario": job.scenario,
        "batch": batch,
        "variant": subject.variant,
        "form": subject.form,
        "numerics": subject.numerics,
        "time_steps": subject.time_steps,
        "streams": job.streams if job.scenario == "multi" else 1,
        "deadline_s": job.deadline_s if job.scenario == "stream" else None,
        "bytes_on_disk": subject.bytes_on_disk,
        "parity": subject.parity,
        "parity_overridden": failed,
        "environment": {**provenance.collect(), "threads_asked": job.threads},
    }


def _refuse_unfit(subject: Subject, job: Job) -> int:
    """Returns the batch size, or refuses what the subject cannot do."""
    if job.scenario == "stream" and not subject.streaming:
        raise InputError(
            f"target {subject.target!r} {subject.no_stream}",
            expected="a step artifact",
            fix="neurokit export MODEL --target onnx-step",
        )
    batch = job.calls_of
    if subject.fixed_batch is not None and batch != subject.fixed_batch:
        if job.batch:
            raise InputError(
                f"a batch of {batch} was asked for", expected=f"{subject.fixed_batch}, which the artifact is fixed to"
            )
        batch = subject.fixed_batch
    return batch


def _calls(
    subject: Subject, job: Job, runner: Any, batch: int, stack: ExitStack
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns the call that is timed, and the first call of all."""
    if job.scenario == "stream":
        x = subject.inputs(batch)
        steps = _steps(x) if subject.timed else [x]
        runner.reset(batch)
        number = count()
        step = runner.step

        def call() -> object:
            return step(steps[next(number) % len(steps)])

        return call, call
    if job.scenario == "multi":
        runners = [runner, *(stack.enter_context(subject.open()) for _ in range(job.streams - 1))]
        pool = stack.enter_context(ThreadPoolExecutor(job.streams))
        return method.at_once([subject.call(each, batch) for each in runners], pool), subject.call(runner, batch)
    call = subject.call(runner, batch)
    return call, call


def _steps(x: Any) -> list[Any]:
    """Returns the inputs of every time step."""
    if not isinstance(x, dict):
        return list(x)
    return [dict(zip(x, values, strict=True)) for values in zip(*x.values(), strict=True)]


def _timed(
    call: Callable[[], object],
    job: Job,
    runner: Any,
    row: dict[str, Any],
    emit: Emit | None,
    look: Callable[[], environment.Snapshot],
    clock: method.Clock,
) -> tuple[list[float], list[str]]:
    """Warms up and measures; fills in what belongs to the measurement, and returns samples and reasons."""
    if emit is not None:
        emit({"event": "doing", "what": "warming up"})
    warm = method.warm_up(call, job.rules, clock)
    phases = getattr(runner, "phases_s", None)
    if phases is not None:
        phases.clear()
    meter, note = meters.find(job.meter)
    observe = _observer(emit)
    watch = environment.Watch(look)
    if meter is not None:
        meter.start()
    if job.scenario == "stream" and job.deadline_s is not None:
        found, elapsed = method.paced(call, job.deadline_s, job.rules, clock=clock, observe=observe)
    else:
        found, elapsed = method.back_to_back(call, job.rules, clock=clock, observe=observe)
    energy = None
    if meter is not None:
        energy, note = _energy(meter, note, elapsed, len(found) * row["batch"] * row["streams"])
    seen, reasons = watch.stop()
    if not warm.settled:
        reasons.append(f"not settled after {warm.runs} runs and {warm.seconds:.3g} s of warming up")
    row |= {"elapsed_s": elapsed, "energy": energy, "energy_note": note, "warm_up": asdict(warm)}
    row["phases_s"] = {name: _nanoseconds(values[-len(found) :]) for name, values in (phases or {}).items()}
    row["environment"] |= {"during": seen}
    return found, reasons


def _observer(emit: Emit | None) -> method.Observer | None:
    if emit is None:
        return None
    sent = 0

    def observe(found: Sequence[float], left_s: float) -> None:
        nonlocal sent
        emit({"event": "samples", "samples_s": _nanoseconds(found[sent:]), "left_s": left_s})
        sent = len(found)

    return observe


def _nanoseconds(times: Sequence[float]) -> list[float]:
    """Returns times without the digits that no clock has; the files would be twice as large with them."""
    return [round(value, 9) for value in times]


def _energy(meter: meters.Meter, name: str, elapsed: float, inferences: int) -> tuple[dict[str, Any] | None, str]:
    """Returns the energy of one inference as a quantity, and what was measured or why not."""
    try:
        joules = meter.stop() / inferences
    except (OSError, meters.Absent, InputError) as error:
        return None, f"absent: {name}: {error}"
    source = f"{name}, {inferences} inferences in {elapsed:.3g} s, idle power included"
    return {"value": joules, "low": joules, "high": joules, "unit": "J", "kind": "measured", "source": source}, name


def _output_error(subject: Subject, runner: Any, wanted: Answer | None) -> float | None:
    """Returns the relative L2 error of the output on the subject's own input, the largest of several."""
    if wanted is None or subject.fixed_batch not in (None, subject.x.shape[subject.batch_axis]):
        return None
    found = runner(subject.inputs(subject.x.shape[subject.batch_axis]))
    if subject.streaming:
        runner.reset(subject.x.shape[subject.batch_axis])
    if not isinstance(wanted, dict):
        return _relative(np.asarray(found), wanted)
    errors = [_relative(np.asarray(found[name]), value) for name, value in wanted.items()]
    return None if any(error is None for error in errors) else max(error for error in errors if error is not None)


def _relative(found: np.ndarray, wanted: np.ndarray) -> float | None:
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    return float(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0)) if a.shape == b.shape else None


def _runtime(runner: Any) -> dict[str, Any]:
    """Returns what the runtime itself says: the providers that a session really uses, a runner's own facts."""
    facts = dict(getattr(runner, "facts", {}))
    providers = getattr(runner, "providers", None)
    if providers is not None:
        facts["providers"] = list(providers)
    return facts
