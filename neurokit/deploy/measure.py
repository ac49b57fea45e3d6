"""Latency and the task's metric of every form, here and on every device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from neurokit.artifact import Artifact
from neurokit.bench.job import Job
from neurokit.bench.run import BenchRun, run_here
from neurokit.bench.ssh import run_there
from neurokit.deploy.plan import Form, said
from neurokit.deploy.work import Work
from neurokit.errors import NeurokitError
from neurokit.provenance import machine
from neurokit.reports.deploy import HERE

Lowered = Mapping[Form, Mapping[str, Any]]


def measure(work: Work, lowered: Lowered, device: str, progress: Any = None) -> dict[Form, dict[str, Any]]:
    """Measures every form that was verified on a device; what was measured before is kept.

    Args:
        work: The deployment.
        lowered: What lowering made of each form.
        device: "this machine", or the device as ssh takes it.
        progress: Is told how far it is, as by `neurokit.bench.run.run_here`.

    Returns:
        By form, a latency report as JSON under "report", or why there is none under "failed".
    """
    found: dict[Form, dict[str, Any]] = {}
    for form, made in lowered.items():
        if "failed" in made or made["parity"] in ("failed", "not verified"):
            continue
        artifact = work.store.folder / made["artifact"]
        if device != HERE and Artifact.load(artifact).manifest.runtime != "onnxruntime":
            found[form] = {"failed": "a device runs it by ONNX Runtime alone, and this form is for another runtime"}
            continue
        inputs = {"artifact": made["artifact"], "device": device, "rules": asdict(work.options.rules)}
        inputs |= {"threads": work.options.threads, "machine": _machine(device), **_labels(work)}
        work_of = partial(_measured, work, str(artifact), device, progress)
        found[form] = dict(work.store.step("bench", inputs, work_of, lambda result: "failed" not in result))
    return found


def _labels(work: Work) -> dict[str, str]:
    return {"data": work.data} if work.plan.labelled else {}


def _machine(device: str) -> Any:
    return machine().get("cpu") if device == HERE else ""


def _measured(work: Work, artifact: str, device: str, progress: Any, key: str) -> dict[str, Any]:
    data = str(work.labelled) if work.labelled else ""
    job = Job("artifact", artifact, threads=work.options.threads, data=data, rules=work.options.rules)
    try:
        run = _run([job], work, device, progress)
    except NeurokitError as error:
        return {"failed": said(error)}
    if run.reports:
        return {"report": run.reports[0].to_json(), "notes": list(run.notes)}
    reasons = [entry["reason"] for entry in run.failures] or ["nothing was measured"]
    return {"failed": "; ".join(reasons)}


def _run(jobs: Sequence[Job], work: Work, device: str, progress: Any) -> BenchRun:
    if device == HERE:
        return run_here(jobs, progress)
    options = work.options
    return run_there(device, jobs, python=options.python, options=options.ssh_options, progress=progress)
