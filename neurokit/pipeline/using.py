"""What is done with an artifact: it is verified from its files alone, and opened for running."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from neurokit import native, stuck
from neurokit.artifact import Artifact
from neurokit.errors import MissingRuntimeError, OutputError
from neurokit.parity.check import verify as _verify
from neurokit.parity.check import with_simulators
from neurokit.parity.wellformed import fitting
from neurokit.reports import ParityReport
from neurokit.stages import stage
from neurokit.target import TARGETS, Runner, Target

NOT_RECORDED = "the verdict is not recorded"


def verify(
    artifact: Artifact | str | Path,
    *,
    record: bool = True,
    simulators: bool = True,
    thorough: bool = False,
    **options: Any,
) -> ParityReport:
    """Verifies an artifact from its files alone and records the verdict in its manifest.

    Args:
        artifact: The artifact, or its folder.
        record: Whether to write the verdict into the manifest.
        simulators: Whether other simulators that are installed run the file too, where the target has any (NIR).
        thorough: Whether to run it on every optimisation level, with one and two threads and in a batch as well.
        options: Options of the target's probe (for ONNX: level, threads).

    Returns:
        The report. Where the folder cannot be written, a note says that the verdict is not recorded.

    Raises:
        ArtifactError: If a file is missing, truncated or changed, or files and manifest contradict each other.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    target = TARGETS.get(artifact.manifest.target)
    need_runtime(target)
    with fitting(artifact, "verified"), stuck.allowing(artifact):
        with stage("verify"):
            report = _verify(artifact, thorough=thorough, **options)
        if simulators:
            with stage("simulators"):
                report = with_simulators(artifact, report)
    if not record:
        return report
    try:
        artifact.with_parity(report)
    except OutputError as error:
        return replace(report, notes=(*report.notes, f"{NOT_RECORDED}: {error.what}"))
    return report


def open(artifact: Artifact | str | Path, **options: Any) -> Runner:
    """Opens an artifact for running; the runner is a context manager.

    Args:
        artifact: The artifact, or its folder.
        options: Options of the target (for ONNX: level, threads, providers, spinning, seed).

    Raises:
        ArtifactError: If a file is missing, truncated or changed.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    target = TARGETS.get(artifact.manifest.target)
    need_runtime(target)
    with fitting(artifact, "opened"):
        return target.open(artifact, **options)


def trust(artifact: Artifact | str | Path) -> Artifact:
    """Says that the machine code of an artifact from elsewhere may be loaded by this user on this machine.

    Every file is held against its sum first; what is changed afterwards is not trusted. An artifact without machine
    code needs no trust, and is returned as it is.

    Args:
        artifact: The artifact, or its folder.

    Raises:
        ArtifactError: If a file is missing, truncated or changed.
        OutputError: If the user's data folder cannot be written.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    artifact.check_files()
    if TARGETS.get(artifact.manifest.target).info.native:
        native.note(artifact.manifest, required=True)
    return artifact


def need_runtime(target: Target) -> None:
    """Raises MissingRuntimeError if something that running a target's artifacts needs is not installed."""
    missing = target.info.missing(lowering=False)
    if missing:
        raise MissingRuntimeError(
            f"target {target.info.name!r} needs {', '.join(missing)}", fix=target.info.install or "install it"
        )
