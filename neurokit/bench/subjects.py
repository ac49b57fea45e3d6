"""What can be measured on this machine: PyTorch, the event engine, and every artifact whose target opens here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurokit.artifact import Artifact
from neurokit.bench.job import Job
from neurokit.bench.subject import Subject, artifact_subject
from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.spec import ModelSpec
from neurokit.target import TARGETS


def host_subject(artifact: Artifact, job: Job) -> Subject:
    """Returns an artifact of any target as this machine opens it.

    Raises:
        ParityError: If its verification failed and the job does not allow that.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    from neurokit.bench.device import open_onnx

    if artifact.manifest.runtime == "onnxruntime":
        return artifact_subject(artifact, job, lambda: open_onnx(artifact, job))
    from neurokit.pipeline import need_runtime

    target = TARGETS.get(artifact.manifest.target)
    need_runtime(target)
    options = {"threads": job.threads} if target.info.threaded else {}
    return artifact_subject(artifact, job, lambda: target.open(artifact, **options))


def score(artifact: Artifact, data: Labelled) -> dict[str, Any]:
    """Returns what the model's task measures of an artifact on labelled data, as `LatencyReport.scores` holds it.

    Raises:
        InputError: If the data do not fit, or the task has no metric here.
    """
    from neurokit.bench.task_scores import add_scores

    subject = host_subject(artifact, Job("artifact", str(artifact.path), allow_mismatch=True))
    row: dict[str, Any] = {"environment": {}}
    with subject.open() as runner:
        add_scores(row, subject, runner, data)
    if "scores" not in row:
        raise InputError(f"{artifact.path}: {row['environment'].get('accuracy_note', 'no metric')}")
    return dict(row["scores"])


def model_subject(spec: ModelSpec, job: Job) -> Subject:
    """Returns a model as PyTorch or the event engine runs it.

    Raises:
        NeurokitError: If it cannot be run so here.
    """
    if job.subject == "engine":
        from neurokit.bench.engine_run import engine_subject

        return engine_subject(spec, job)
    from neurokit.bench.torch_run import torch_subject

    return torch_subject(spec, job)


def find_subject(job: Job) -> Subject:
    """Returns what a job names.

    Raises:
        NeurokitError: If it cannot be found or opened here.
    """
    if job.subject == "artifact":
        return host_subject(Artifact.load(Path(job.source)), job)
    return model_subject(load_model(job.source, job), job)


def load_model(name: str, job: Job) -> ModelSpec:
    """Returns a model with the job's choices applied.

    Raises:
        NeurokitError: As `neurokit.loading.load`.
    """
    from neurokit.loading import load

    shape, steps = job.input_shape or None, job.time_steps or None
    return load(name, shape, steps, job.weights or None, job.preprocess or None)
