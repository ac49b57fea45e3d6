"""What is measured, and what a measurement needs to know of it; standard library and numpy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.bench.folder import VECTORS, read_vectors
from neurokit.bench.job import Job
from neurokit.errors import ParityError
from neurokit.feeds import distribution_of, lead_axes, outputs_over_time, ports_of
from neurokit.tasks.scoring import Layout, Port

Answer = np.ndarray | dict[str, np.ndarray]


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
        expected: The reference's output for `x`, or what computes it, or None; outputs by name with `feeds`.
        bytes_on_disk: Size of its files.
        parity: Verdict of its verification, or "".
        layout: How labelled samples become its calls, or None where it does not take them as they are.
        task: Name and settings of the model's task; without a name it is taken for a classifier.
        opening: What is done while it is opened, for the progress.
        starting: What is done in its first call.
        feeds: All inputs by name, where there are several inputs or outputs; else None.
        no_stream: Why there are no steps to stream.
        rounds: The graphs of a model that has several, with the feeds of each: one measurement runs each once.
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
    expected: Answer | Callable[[], Answer] | None = None
    bytes_on_disk: int | None = None
    parity: str = ""
    layout: Layout | None = None
    task: tuple[str | None, Mapping[str, Any]] = (None, {})
    opening: str = "opening"
    starting: str = "first inference"
    feeds: dict[str, np.ndarray] | None = None
    no_stream: str = "takes whole inputs, so it has no time steps to stream"
    rounds: tuple[tuple[str, dict[str, np.ndarray]], ...] = ()

    @property
    def batch_axis(self) -> int:
        """The axis of the batch in `x`."""
        return 1 if self.timed else 0

    def inputs(self, batch: int) -> np.ndarray | dict[str, np.ndarray]:
        """Returns `x`, or all feeds by name, with `batch` samples, repeated where there are fewer."""
        order = np.arange(batch) % self.x.shape[self.batch_axis]
        if self.feeds is None:
            return _taken(self.x, order, self.batch_axis)
        return {name: _taken(value, order, self.batch_axis) for name, value in self.feeds.items()}

    def call(self, runner: Any, batch: int) -> Callable[[], Any]:
        """Returns what is timed: one call with `batch` samples, or each of several graphs once."""
        if not self.rounds:
            given = self.inputs(batch)
            return lambda: runner(given)
        order = [np.arange(batch) % len(next(iter(feeds.values()))) for _, feeds in self.rounds]
        rounds = [
            (graph, {name: _taken(value, rows, 0) for name, value in feeds.items()})
            for (graph, feeds), rows in zip(self.rounds, order, strict=True)
        ]

        def run() -> Any:
            if runner.streaming:
                runner.reset(batch)
            return [runner.run(graph, feeds) for graph, feeds in rounds]

        return run


def _taken(value: np.ndarray, order: np.ndarray, axis: int) -> np.ndarray:
    return np.ascontiguousarray(np.take(value, order, axis=axis))


def why_no_stream(manifest: Any) -> str:
    """Returns why an artifact has no equal steps to stream, or "" where it has."""
    if manifest.form != "step":
        return "takes whole inputs, so it has no time steps to stream"
    if len(manifest.graphs) > 1:
        return "has several graphs, so there is no one step to stream"
    if any(getattr(state, "next_shape", ()) for state in manifest.states):
        return "has a state that grows with every step, so no two steps cost the same"
    return ""


def refuse_mismatch(parity: dict[str, Any] | None, path: Path, allowed: bool) -> None:
    """Refuses an artifact whose verification failed, or that was never verified.

    Raises:
        ParityError: If so, unless `allowed`.
    """
    passed = bool(parity and parity.get("passed", parity.get("verdict") != "failed"))
    if not passed and not allowed:
        state = "failed its verification" if parity else "was never verified"
        raise ParityError(
            f"{path} {state}",
            expected="an artifact that computes what its source computes",
            fix=f"neurokit verify {path}, or add --allow-mismatch (the report will say so)",
        )


def numerics_of(manifest: Any) -> str:
    """Returns an artifact's numerics; of an exact one with the bits of its weights, which are not all alike."""
    bits = (manifest.target_info.get("proof") or {}).get("bits")
    return f"{manifest.numerics} {bits} bits" if bits else str(manifest.numerics)


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
    manifest = artifact.manifest
    refuse_mismatch(manifest.parity, artifact.path, job.allow_mismatch)
    sample = read_vectors(artifact.path / VECTORS, manifest.inputs[0].name)
    x = next(iter(sample.feeds.values()))
    named = len(sample.feeds) > 1 or len(sample.outputs) > 1
    expected = sample.outputs if named else next(iter(sample.outputs.values()), None)
    time_input = sample.time_input
    timed = time_input == "sequence" and manifest.time_steps is not None
    steps = int(x.shape[0]) if timed else manifest.time_steps
    size = manifest.inputs[0].shape[lead_axes(manifest.inputs[0]) - 1]
    fixed = size if isinstance(size, int) else None
    return Subject(
        model=manifest.model.name,
        target=manifest.target,
        open=open_runner,
        x=x,
        variant=job.variant,
        form=manifest.form,
        numerics=numerics_of(manifest),
        time_steps=steps,
        timed=timed,
        streaming=not why_no_stream(manifest),
        no_stream=why_no_stream(manifest),
        feeds=sample.feeds if named and not sample.rounds else None,
        rounds=sample.rounds,
        fixed_batch=fixed,
        expected=None if sample.rounds else expected,
        layout=_layout(manifest, steps if timed else None, fixed),
        task=(manifest.task.name, manifest.task.settings) if manifest.task else (None, {}),
        bytes_on_disk=sum(file.stat().st_size for file in artifact.path.rglob("*") if file.is_file()),
        parity=(manifest.parity or {}).get("verdict", "not verified"),
    )


_SCORED_AT_ONCE = 8  # samples a call, where the batch is free


def _layout(manifest: Any, steps: int | None, batch: int | None) -> Layout:
    """Returns how labelled samples become calls of an artifact."""
    ports = [
        Port(port.name, tuple(port.shape[lead_axes(port) :]), port.dtype, bool(distribution_of(port)))
        for port in ports_of(manifest)
    ]
    over_time = outputs_over_time(manifest)
    fixed = isinstance(manifest.time_steps, int) and manifest.form != "step"
    return Layout(tuple(ports), steps, fixed, over_time, batch or _SCORED_AT_ONCE)
