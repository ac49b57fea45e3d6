"""One measurement from start to end: open, check, warm up, time, and say what the machine did meanwhile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import provenance, samples
from neurokit.bench import environment, method
from neurokit.bench import meter as meters
from neurokit.bench.job import Job
from neurokit.errors import InputError, ParityError

Emit = Callable[[dict[str, Any]], None]
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        model: Name of the model.
        target: Name of the target.
        open: Opens it; the runner is a context manager and takes and returns numpy arrays.
        x: An input, `[T, B, ...]`, or `[B, ...]` without time or for an image that is repeated inside.
        variant: What tells subjects of one target apart.
        form: Form within the target.
        numerics: "float", "exact", "int8" and the like.
        time_steps: T, or None without time.
        timed: Whether `x` has a time axis.
        streaming: Whether the runner can `step`.
        fixed_batch: The only batch size it takes, or None.
        expected: The reference's output for `x`, or None.
        time_output: What the output is over time ("sequence" or reduced).
        bytes_on_disk: Size of its files.
        parity: Verdict of its verification, or "".
    """

    model: str
    target: str
    open: Callable[[], Any]
    x: np.ndarray
    variant: str = ""
    form: str = ""
    numerics: str = "float"
    time_steps: int | None = None
    timed: bool = False
    streaming: bool = False
    fixed_batch: int | None = None
    expected: np.ndarray | None = None
    time_output: str = ""
    bytes_on_disk: int | None = None
    parity: str = ""

    @property
    def batch_axis(self) -> int:
        """The axis of the batch in `x`."""
        return 1 if self.timed else 0

    def inputs(self, batch: int) -> np.ndarray:
        """Returns `x` with `batch` samples, repeated where it has fewer."""
        order = np.arange(batch) % self.x.shape[self.batch_axis]
        return np.ascontiguousarray(np.take(self.x, order, axis=self.batch_axis))


def refuse_mismatch(parity: dict[str, Any] | None, path: Path, allowed: bool) -> None:
    """Refuses an artifact whose verification failed, or that was never verified.

    Raises:
        ParityError: If so, unless `allowed`.
    """
    passed = bool(parity and parity.get("passed", parity.get("verdict") != "failed"))
    if not passed and not allowed:
        state = "failed its verification" if parity else "was never verified"
        raise ParityError(
            f"{path} {state}", expected="an artifact that computes what its source computes",
            fix=f"neurokit verify {path}, or add --allow-mismatch (the report will say so)",
        )  # fmt: skip


def artifact_subject(artifact: Any, job: Job, open_runner: Callable[[], Any]) -> Subject:
    """Returns the subject of an artifact.

    Args:
        artifact: A `Folder` or an `Artifact`.
        job: The job; `allow_mismatch` counts.
        open_runner: Opens it.

    Raises:
        ParityError: If its verification failed and the job does not allow that.
        ArtifactError: If its test vectors cannot be read.
    """
    from neurokit.bench.folder import VECTORS, read_vectors

    manifest = artifact.manifest
    refuse_mismatch(manifest.parity, artifact.path, job.allow_mismatch)
    x, expected, time_input = read_vectors(artifact.path / VECTORS)
    timed = time_input == "sequence" and manifest.time_steps is not None
    steps = int(x.shape[0]) if timed else manifest.time_steps
    layout = manifest.inputs[0].layout or "B"
    size = manifest.inputs[0].shape[layout.index("B")] if "B" in layout else "B"
    return Subject(
        model=manifest.model.name, target=manifest.target, open=open_runner, x=x, variant=job.variant,
        form=manifest.form, numerics=manifest.numerics, time_steps=steps, timed=timed,
        streaming=manifest.form == "step", fixed_batch=size if isinstance(size, int) else None, expected=expected,
        time_output=manifest.target_info.get("time_output", ""),
        bytes_on_disk=sum(file.stat().st_size for file in artifact.path.rglob("*") if file.is_file()),
        parity=(manifest.parity or {}).get("verdict", "not verified"),
    )  # fmt: skip


def measure(
    subject: Subject, job: Job, *, emit: Emit | None = None,
    look: Callable[[], environment.Snapshot] = environment.look, clock: method.Clock = time.perf_counter,
) -> dict[str, Any]:  # fmt: skip
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
    row: dict[str, Any] = _head(subject, job, batch)
    reset_peak()
    added_from = resident()[0]
    with ExitStack() as stack:
        start = clock()
        runner = stack.enter_context(subject.open())
        row["load_s"] = clock() - start
        call, first = _calls(subject, job, runner, batch, stack)
        start = clock()
        first()
        row["first_s"] = clock() - start
        row["output_error"] = _output_error(subject, runner)
        if emit is not None:
            emit({"event": "about", "row": row})
        found, reasons = _timed(call, job, runner, row, emit, look, clock)
        row["memory"] = _memory(added_from)
        row["environment"] |= _runtime(runner)
        if job.data:
            row["accuracy"] = accuracy(subject, runner, Path(job.data))
    reasons += samples.faults(found, row["elapsed_s"])
    return {**row, "samples_s": found, "verdict": "INVALID" if reasons else "VALID", "reasons": reasons}


def _head(subject: Subject, job: Job, batch: int) -> dict[str, Any]:
    failed = subject.parity in ("failed", "not verified")
    return {
        "report": "latency", "schema_version": SCHEMA_VERSION, "model": subject.model, "target": subject.target,
        "scenario": job.scenario, "batch": batch, "variant": subject.variant, "form": subject.form,
        "numerics": subject.numerics, "time_steps": subject.time_steps,
        "streams": job.streams if job.scenario == "multi" else 1,
        "deadline_s": job.deadline_s if job.scenario == "stream" else None,
        "bytes_on_disk": subject.bytes_on_disk, "parity": subject.parity, "parity_overridden": failed,
        "environment": {**provenance.collect(), "threads_asked": job.threads},
    }  # fmt: skip


def _refuse_unfit(subject: Subject, job: Job) -> int:
    """Returns the batch size, or refuses what the subject cannot do."""
    if job.scenario == "stream" and not subject.streaming:
        raise InputError(
            f"target {subject.target!r} takes whole inputs, so it has no time steps to stream",
            expected="a step artifact", fix="neurokit export MODEL --target onnx-step",
        )  # fmt: skip
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
) -> tuple[Callable[[], object], Callable[[], object]]:  # fmt: skip
    """Returns the call that is timed, and the first call of all."""
    x = subject.inputs(batch)
    if job.scenario == "stream":
        steps = list(x) if subject.timed else [x]
        runner.reset(batch)
        number = count()
        step = runner.step

        def call() -> object:
            return step(steps[next(number) % len(steps)])

        return call, call
    if job.scenario == "multi":
        runners = [runner, *(stack.enter_context(subject.open()) for _ in range(job.streams - 1))]
        pool = stack.enter_context(ThreadPoolExecutor(job.streams))
        return method.at_once([lambda each=each: each(x) for each in runners], pool), lambda: runner(x)  # type: ignore[misc]
    return (lambda: runner(x)), (lambda: runner(x))


def _timed(
    call: Callable[[], object], job: Job, runner: Any, row: dict[str, Any], emit: Emit | None,
    look: Callable[[], environment.Snapshot], clock: method.Clock,
) -> tuple[list[float], list[str]]:  # fmt: skip
    """Warms up and measures; fills in what belongs to the measurement, and returns samples and reasons."""
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
    row["phases_s"] = {name: values[-len(found) :] for name, values in (phases or {}).items()}
    row["environment"] |= {"during": seen}
    return found, reasons


def _observer(emit: Emit | None) -> method.Observer | None:
    if emit is None:
        return None
    sent = 0

    def observe(found: Sequence[float], left_s: float) -> None:
        nonlocal sent
        emit({"event": "samples", "samples_s": list(found[sent:]), "left_s": left_s})
        sent = len(found)

    return observe


def _energy(meter: meters.Meter, name: str, elapsed: float, inferences: int) -> tuple[dict[str, Any] | None, str]:
    """Returns the energy of one inference as a quantity, and what was measured or why not."""
    try:
        joules = meter.stop() / inferences
    except (OSError, meters.Absent, InputError) as error:
        return None, f"absent: {name}: {error}"
    source = f"{name}, {inferences} inferences in {elapsed:.3g} s, idle power included"
    return {"value": joules, "low": joules, "high": joules, "unit": "J", "kind": "measured", "source": source}, name


def _output_error(subject: Subject, runner: Any) -> float | None:
    """Returns the relative L2 error of the output on the subject's own input."""
    if subject.expected is None or subject.fixed_batch not in (None, subject.x.shape[subject.batch_axis]):
        return None
    found = np.asarray(runner(np.ascontiguousarray(subject.x)), dtype=np.float64)
    if subject.streaming:
        runner.reset(subject.x.shape[subject.batch_axis])
    expected = subject.expected.astype(np.float64)
    if found.shape != expected.shape:
        return None
    return float(np.linalg.norm(found - expected) / (np.linalg.norm(expected) or 1.0))


def accuracy(subject: Subject, runner: Any, path: Path) -> dict[str, Any]:
    """Runs labelled data and counts the right answers.

    Args:
        subject: What is measured.
        runner: It, open.
        path: .npz file with `x` `[N, *shape]` or `[N, T, *shape]`, and `y` `[N]`.

    Raises:
        InputError: If the file does not hold such data.
    """
    x, y = _read_data(path)
    inner = subject.x.ndim - subject.batch_axis - 1
    has_time = x.ndim - 1 == inner + 1 and subject.timed
    if x.ndim - 1 != inner + has_time:
        raise InputError(
            f"{path}: x has shape {list(x.shape)}",
            expected=f"[N, {', '.join(map(str, subject.x.shape[subject.batch_axis + 1 :]))}]",
        )
    batch = subject.fixed_batch or 1
    correct = 0
    for start in range(0, len(x), batch):
        rows = np.arange(start, start + batch) % len(x)
        part = x[rows].astype(subject.x.dtype)
        if subject.timed:
            part = np.moveaxis(part, 1, 0) if has_time else np.repeat(part[None], subject.x.shape[0], axis=0)
        found = np.asarray(runner(np.ascontiguousarray(part)))
        found = found.mean(axis=0) if subject.time_output == "sequence" else found
        correct += int((found.argmax(-1)[: len(x) - start] == y[rows][: len(x) - start]).sum())
    return {"correct": correct, "total": len(x), "data": path.name}


def _read_data(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as data:
            x, y = data["x"], data["y"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no labelled data: {error}", expected="an .npz file with x and y") from error
    if y.ndim != 1 or len(x) != len(y) or not len(x):
        raise InputError(f"{path}: x is {list(x.shape)}, y is {list(y.shape)}", expected="as many labels as inputs")
    return x, y


def _runtime(runner: Any) -> dict[str, Any]:
    """Returns what the runtime itself says: the providers that a session really uses."""
    session = getattr(runner, "_session", None)
    if session is None or not hasattr(session, "get_providers"):
        return {}
    return {"providers": list(session.get_providers())}


def reset_peak() -> None:
    """Lets the peak of the resident memory start anew (Linux 4.0 and newer; elsewhere it stays)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def resident() -> tuple[float, float]:
    """Returns the resident memory of this process and its peak, in bytes; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return sizes.get("VmRSS", 0.0), sizes.get("VmHWM", 0.0)


def _memory(added_from: float) -> dict[str, float]:
    peak = resident()[1]
    found = {"cpu": peak, "cpu_added": max(peak - added_from, 0.0)} if peak else {}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["gpu"] = float(torch.cuda.max_memory_allocated())
        return found
    nvml = environment.nvml_if_used()
    if nvml is not None:
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
        own = [p for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == os.getpid()]
        if own and own[0].usedGpuMemory:
            found["gpu"] = float(own[0].usedGpuMemory)
    return found
