"""The benchmark as it runs on a device that has only ONNX Runtime and numpy."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurokit import provenance
from neurokit.bench.events import Collector, failed, read_jobs, run_jobs
from neurokit.bench.folder import Folder
from neurokit.bench.job import Job
from neurokit.bench.measure import SCHEMA_VERSION, measure
from neurokit.bench.subject import artifact_subject
from neurokit.errors import ArtifactError, InputError, NeurokitError
from neurokit.export.ort import OnnxRunner
from neurokit.tasks.scoring import metric_of

# Execution providers that are worth a row of their own where ONNX Runtime has them; the CPU's is the plain row.
PROVIDERS = (
    "XnnpackExecutionProvider",
    "OpenVINOExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "NvTensorRTRTXExecutionProvider",
    "CoreMLExecutionProvider",
    "QNNExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "DmlExecutionProvider",
    "NnapiExecutionProvider",
)
JOBS = "jobs.json"


def run_one(job: Job, open_folder: Any = Folder.load) -> int:
    """Runs one job in this process and prints its events; returns the exit status."""
    try:
        folder = open_folder(job.source)
        if folder.manifest.runtime != "onnxruntime":
            raise ArtifactError(
                f"{folder.path} is for target {folder.manifest.target!r}",
                expected="an ONNX artifact",
                fix="benchmark it where its runtime and neurokit are installed",
            )
        row = measure(artifact_subject(folder, job, lambda: open_onnx(folder, job)), job, emit=emit)
    except NeurokitError as error:
        emit(failed(error))
        return error.exit_code
    except Exception as error:  # a runtime's own exceptions have no common base; the row says which
        emit(failed(error))
        return 1
    emit({"event": "row", "row": row})
    return 0


def open_onnx(artifact: Any, job: Job) -> OnnxRunner:
    """Opens an ONNX artifact on the job's provider, with the CPU for what that does not take."""
    provider = [job.provider] if job.provider else []
    providers = [*provider, "CPUExecutionProvider"] if provider else []
    return OnnxRunner(artifact, threads=job.threads, providers=providers)


def with_providers(jobs: Sequence[Job]) -> list[Job]:
    """Returns the jobs, each ONNX job once more for every further provider that ONNX Runtime has here."""
    try:
        import onnxruntime

        here = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
    except ImportError:
        here = []
    return [each for job in jobs for each in (job, *(replace(job, provider=p) for p in here if not job.provider))]


def emit(event: dict[str, Any]) -> None:
    """Prints an event as one line."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def file_of(collector: Collector, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Returns what a benchmark's JSON file holds."""
    return {
        "report": "bench",
        "schema_version": SCHEMA_VERSION,
        "reports": collector.rows,
        "failures": collector.failures,
        "notes": list(notes),
        "provenance": provenance.collect(),
    }


def main(arguments: Sequence[str] | None = None, here: Path = Path()) -> int:
    """Runs the jobs of a pack and writes one JSON file.

    Args:
        arguments: The command line.
        here: The pack's folder.
    """
    parser = argparse.ArgumentParser(prog="bench.py", description="Measure the packed models on this device.")
    parser.add_argument("--json", default="result.json", help="file to write (default result.json)")
    parser.add_argument("--seconds", type=float, help="measure each at least this long")
    parser.add_argument("--threads", type=int, help="threads within an operator")
    parser.add_argument("--meter", help="auto, none, rapl, nvml, ina, jtop, tegrastats or csv:FILE")
    parser.add_argument("--events", action="store_true", help="print one JSON object a line, for another program")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        if given.job is not None:
            return run_one(Job.from_json(json.loads(given.job)))
        jobs = [_placed(_adjusted(job, given), here) for job in with_providers(read_jobs(_text(here / JOBS)))]
    except NeurokitError as error:
        sys.stderr.write(f"error: {error.what}\nexpected: {error.expected}\nfix: {error.fix}\n")
        return error.exit_code
    return _run(jobs, given, here)


def _run(jobs: list[Job], given: argparse.Namespace, here: Path) -> int:
    collector = Collector(None if given.events else _show)
    collector.plan(jobs)
    if given.events:
        emit({"event": "plan", "jobs": [job.to_json() for job in jobs]})
    line = (lambda text: emit(json.loads(text)) if text.startswith("{") else None) if given.events else None
    try:
        run_jobs(jobs, [sys.executable, str(here / "bench.py"), "--job"], collector, line)
    except KeyboardInterrupt:
        collector.lost("stopped by the user")
    partial = Path(given.json + ".partial")
    partial.write_text(json.dumps(file_of(collector)), encoding="utf-8")
    os.replace(partial, given.json)
    if not given.events:
        _summary(collector, given.json)
    return 0 if collector.rows else 1


def _adjusted(job: Job, given: argparse.Namespace) -> Job:
    changes: dict[str, Any] = {name: getattr(given, name) for name in ("threads", "meter") if getattr(given, name)}
    if given.seconds is not None:
        changes["rules"] = replace(job.rules, seconds=given.seconds, limit_s=max(job.rules.limit_s, given.seconds))
    return replace(job, **changes)


def _placed(job: Job, here: Path) -> Job:
    data = str(here / job.data) if job.data else ""
    return replace(job, source=str(here / job.source), data=data)


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "it is no regular file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8"
        raise InputError(
            f"{path} cannot be read: {why}", expected="a folder that neurokit bench --pack wrote"
        ) from error


def _show(name: str, share: float, left_s: float | None) -> None:
    left = " " * 10 if left_s is None else time.strftime("%M:%S left", time.gmtime(left_s))
    sys.stderr.write(f"\r{share:4.0%}  {left}  {name[-60:]:<60}")
    sys.stderr.flush()


def _summary(collector: Collector, path: str) -> None:
    sys.stderr.write("\n")
    for row in collector.rows:
        middle = sorted(row["samples_s"])[(len(row["samples_s"]) - 1) // 2]
        name = f"{row['model']} {row['target']} {row['variant']} {row['scenario']}"
        metric = f", {said}" if (said := metric_of(row.get("scores"))) else ""
        count = len(row["samples_s"])
        sys.stdout.write(f"{name}: median {middle * 1e3:.4g} ms{metric}, {count} samples, {row['verdict']}\n")
        sys.stdout.writelines(f"  {reason}\n" for reason in row["reasons"])
    for entry in collector.failures:
        sys.stdout.write(f"failed: {entry['subject']} {entry['variant']} {entry['scenario']}: {entry['reason']}\n")
    sys.stdout.write(f"{path} written; next: neurokit report {path} --html page.html\n")
