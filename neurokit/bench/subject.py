"""What is measured, and what a measurement needs to know of it; standard library and numpy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.bench.folder import VECTORS, read_vectors
from neurokit.bench.job import Job
from neurokit.errors import ParityError


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
        expected: The reference's output for `x`, or what computes it, or None.
        time_output: What the output is over time ("sequence" or reduced).
        bytes_on_disk: Size of its files.
        parity: Verdict of its verification, or "".
        takes_data: Whether labelled data is in the form that it takes.
        opening: What is done while it is opened, for the progress.
        starting: What is done in its first call.
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
    expected: np.ndarray | Callable[[], np.ndarray] | None = None
    time_output: str = ""
    bytes_on_disk: int | None = None
    parity: str = ""
    takes_data: bool = True
    opening: str = "opening"
    starting: str = "first inference"

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
    feeds, outputs, time_input = read_vectors(artifact.path / VECTORS, manifest.inputs[0].name)
    x, expected = next(iter(feeds.values())), next(iter(outputs.values()), None)
    timed = time_input == "sequence" and manifest.time_steps is not None
    steps = int(x.shape[0]) if timed else manifest.time_steps
    layout = manifest.inputs[0].layout or "B"
    size = manifest.inputs[0].shape[layout.index("B")] if "B" in layout else "B"
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
        streaming=manifest.form == "step",
        fixed_batch=size if isinstance(size, int) else None,
        expected=expected,
        time_output=manifest.target_info.get("time_output", ""),
        bytes_on_disk=sum(file.stat().st_size for file in artifact.path.rglob("*") if file.is_file()),
        parity=(manifest.parity or {}).get("verdict", "not verified"),
    )
