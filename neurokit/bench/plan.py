"""What a benchmark measures, from what the user named: folders of artifacts, or a model with its targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neurokit.artifact import Artifact
from neurokit.bench.device import with_providers
from neurokit.bench.events import failed, target_of
from neurokit.bench.job import SCENARIOS, SUBJECTS, Job
from neurokit.bench.subject import refuse_mismatch, why_no_stream
from neurokit.bench.torch_run import CUDA
from neurokit.errors import InputError, NeurokitError
from neurokit.native import refuse_unknown
from neurokit.spec import ModelSpec
from neurokit.target import TARGETS, check_ports

# Rows of a model that is run as it is, by the names under which they appear.
MODEL_ROWS = {target_of(subject): subject for subject in SUBJECTS if subject != "artifact"}


def scenarios_for(asked: Sequence[str], streaming: bool) -> list[str]:
    """Returns the scenarios of a subject: what was asked for, or a single stream and, if it steps, its time steps."""
    if "all" in asked:
        return [name for name in SCENARIOS if name != "stream" or streaming]
    return list(asked) or (["single", "stream"] if streaming else ["single"])


def plan_folder(folder: Path, base: Job, asked: Sequence[str]) -> list[Job]:
    """Returns the jobs of one artifact.

    Args:
        folder: The artifact.
        base: The job to vary.
        asked: Scenarios.

    Raises:
        ArtifactError: If it is no artifact, or damaged.
        UntrustedCodeError: If it holds code that may not be loaded here.
        ParityError: If its verification failed, unless the job allows that.
    """
    artifact = Artifact.load(folder)
    manifest = artifact.manifest
    if manifest.target in TARGETS.names() and TARGETS.get(manifest.target).info.native:
        refuse_unknown(artifact)  # before a process is started for each of its rows
    refuse_mismatch(manifest.parity, folder, base.allow_mismatch)
    job = replace(base, subject="artifact", source=str(folder))
    jobs = [replace(job, scenario=name) for name in scenarios_for(asked, not why_no_stream(manifest))]
    return with_providers(jobs) if manifest.runtime == "onnxruntime" and not base.provider else jobs


def plan_model(
    model: str, base: Job, asked: Sequence[str], rows: Sequence[str] = (), *, spiking: bool = True
) -> list[Job]:
    """Returns the jobs of a model that is run as it is: by PyTorch in its ways, and by the event engine.

    Args:
        model: A zoo name or `path/file.py:factory`.
        base: The job to vary.
        asked: Scenarios.
        rows: Names from `MODEL_ROWS`; default is every one that makes sense for the model on this machine.
        spiking: Whether the model has neurons.
    """
    import torch

    gpu = torch.cuda.is_available()
    devices = [base.provider] if base.provider else ["", CUDA] if gpu else [""]
    scenarios = [name for name in scenarios_for(asked, False) if name != "stream"]
    jobs = []
    for row, subject in MODEL_ROWS.items():
        if rows and row not in rows:
            continue
        if not rows and subject in ("kernels", "engine") and not spiking:
            continue
        places = devices
        if subject == "kernels":  # without a GPU there is no such row, unless it is asked for by name
            places = [CUDA] if gpu or base.provider == CUDA else [base.provider] if rows else []
        elif subject == "engine":
            places = [""]
        jobs += [
            replace(base, subject=subject, source=model, scenario=scenario, provider=place)
            for place in places
            for scenario in scenarios
        ]
    return jobs


def usable_targets(on_device: bool = False) -> list[str]:
    """Returns the targets that this machine can both lower to and open; `on_device` those that ONNX Runtime runs."""
    return [
        name
        for name, target in TARGETS.items()
        if (not on_device or target.info.runtime == "onnxruntime")
        and all(find_spec(library) for library in (*target.info.requires, *target.info.opens_with))
    ]


def export_all(
    spec: ModelSpec, targets: Sequence[str], out: Path, numerics: str = "float", bits: int = 8
) -> tuple[list[Path], list[dict[str, str]]]:
    """Exports a model to several targets.

    Args:
        spec: The model.
        targets: Names of targets.
        out: Folder for the artifacts.
        numerics: "float" or "exact".
        bits: Bits of a weight in the exact form.

    Returns:
        The folders, and one entry for each target that did not take the model.

    Raises:
        UnknownNameError: If a target is unknown.
        UnsupportedError: If the model cannot be captured.
    """
    from neurokit.pipeline import capture, exact, lower

    for name in targets:
        TARGETS.get(name)
    chosen = []
    failures: list[dict[str, str]] = []
    for name in targets:
        try:
            check_ports(spec, name)  # before any work
            chosen.append(name)
        except NeurokitError as error:
            failures.append(_failure(spec, name, error))
    captured: Any = capture(spec)
    if numerics == "exact":
        captured = exact(captured, bits=bits)
    folders = []
    for name in chosen:
        try:
            folders.append(lower(captured, name, out / name).path)
        except NeurokitError as error:
            failures.append(_failure(spec, name, error))
    return folders, failures


def _failure(spec: ModelSpec, target: str, error: NeurokitError) -> dict[str, str]:
    event = failed(error)
    return {
        "subject": f"{spec.name} on {target}",
        "variant": "",
        "scenario": "export",
        "reason": event["reason"],
        "fix": event["fix"],
    }


def parse_deadline(text: str | None) -> float | None:
    """Reads a period such as "10ms", "0.5 s" or "800us"; a bare number is in milliseconds.

    Raises:
        InputError: If it is no positive time.
    """
    if text is None:
        return None
    number = text.strip().lower()
    scale = 1e-3
    for unit, size in (("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("s", 1.0)):
        if number.endswith(unit):
            number, scale = number[: -len(unit)], size
            break
    try:
        value = float(number) * scale
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise InputError(f"--deadline is {text!r}", expected="a time above 0", fix="for example --deadline 10ms")
    return value
