"""`neurokit.benchmark`: one measurement in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.artifact import Artifact
from neurokit.bench.job import Job, Rules
from neurokit.bench.measure import measure
from neurokit.bench.subjects import host_subject, model_subject
from neurokit.reports import LatencyReport
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


def benchmark(
    what: Artifact | ModelSpec | nn.Module | str | Path,
    scenario: str = "single",
    *,
    seconds: float = 10.0,
    example_inputs: torch.Tensor | None = None,
    subject: str = "eager",
    **options: Any,
) -> LatencyReport:
    """Measures how long an inference takes on this machine.

    Args:
        what: An artifact or its folder; or a model (a spec, a zoo name, or a module with `example_inputs`), which
            PyTorch or the event engine then runs.
        scenario: "single" (one call after the other), "offline" (large batches), "multi" (several streams at once)
            or "stream" (time steps).
        seconds: Measure at least this long; less than 10 s gives an INVALID report.
        example_inputs: For a bare module: `[T, B, *shape]`, or `[B, *shape]` without neurons.
        subject: What runs a model: "eager", "compile", "kernels" (the fused ones, on a GPU), "aoti" or "engine".
        options: Those of `neurokit.bench.job.Job`: batch, streams, deadline_s, threads, provider, numerics, bits,
            meter, data, allow_mismatch.

    Returns:
        The report, with every sample.

    Raises:
        ArtifactError: If the folder is no artifact or is damaged.
        ParityError: If the artifact's verification failed, without `allow_mismatch=True`.
        InputError: If it cannot run the scenario, or an option is out of range.
        UnsupportedError: If the subject cannot run the model.
        MissingRuntimeError: If its runtime is not installed.
    """
    rules = Rules(seconds=seconds, limit_s=max(120.0, seconds))
    if isinstance(what, str | Path) and (isinstance(what, Path) or Path(what).is_dir()):
        what = Artifact.load(what)
    if isinstance(what, Artifact):
        job = Job("artifact", str(what.path), scenario, rules=rules, **options)
        return LatencyReport.from_json(measure(host_subject(what, job), job))
    if isinstance(what, str):
        from neurokit.loading import load

        what = load(what)
    if not isinstance(what, ModelSpec):
        from neurokit.capture import spec_of

        what = spec_of(what, example_inputs)
    job = Job(subject, what.name, scenario, rules=rules, **options)
    return LatencyReport.from_json(measure(model_subject(what, job), job))
