"""How a measurement in another process or on a device reports: one JSON object a line, and what is made of them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurokit import statistics as samples
from neurokit.bench.job import Job
from neurokit.errors import InputError, NeurokitError
from neurokit.plain import parse_json

# Is told what is being measured or prepared, how far everything is (0 to 1), and about how many seconds are left; None
# where nobody knows, as while something is compiled.
Progress = Callable[[str, float, float | None], None]


class Collector:
    """Gathers the lines of a benchmark; whatever was measured is kept, also when the lines end too early.

    Args:
        progress: Is told how far everything is.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self._progress = progress
        self._job: dict[str, Any] | None = None
        self._row: dict[str, Any] | None = None
        self._samples: list[float] = []
        self._doing = ""
        self._left_after = 0.0
        self._all = 0.0

    def plan(self, jobs: Sequence[Job]) -> None:
        """Says what is to come, for the time left."""
        self._left_after = self._all = sum(job.expected_s for job in jobs)

    def begin(self, job: Job) -> None:
        """A job starts."""
        self._job = {**job.to_json(), "expected_s": job.expected_s}
        self._row, self._samples = None, []
        self._left_after = max(self._left_after - job.expected_s, 0.0)
        self._tell(job.expected_s, "starting")

    def take(self, line: str) -> None:
        """Takes one line; what is no event (a library's chatter) is passed over."""
        try:
            event = json.loads(line)
        except ValueError:
            return
        kind = event.get("event") if isinstance(event, dict) else None
        if kind == "plan":
            self.plan([Job.from_json(job) for job in event["jobs"]])
        elif kind == "job":
            self.begin(Job.from_json(event["job"]))
        elif kind == "doing":
            self._tell((self._job or {}).get("expected_s", 0.0), str(event["what"]))
        elif kind == "about":
            self._row = event["row"]
        elif kind == "samples":
            self._samples += event["samples_s"]
            self._tell(event["left_s"])
        elif kind == "row":
            self.rows.append(event["row"])
            self._job = None
        elif kind == "failed" and self._samples:
            self.lost(event["reason"])
        elif kind == "failed":
            self.failures.append({**label(self._job or {}), "reason": event["reason"], "fix": event.get("fix", "")})
            self._job = None

    def lost(self, reason: str) -> None:
        """The lines ended before the job did: keeps its samples as an INVALID report, or the reason alone."""
        if self._job is None:
            return
        if self._row is not None and self._samples:
            why = f"{reason} after {len(self._samples)} samples"
            faults = [why, *samples.faults(self._samples)]
            self.rows.append({**self._row, "samples_s": self._samples, "verdict": "INVALID", "reasons": faults})
        else:
            when = f"before the first samples ({self._doing})" if self._doing else "before the first samples"
            self.failures.append({**label(self._job), "reason": f"{reason} {when}", "fix": ""})
        self._job = None

    @property
    def pending(self) -> bool:
        """Whether a job has begun and not ended."""
        return self._job is not None

    def _tell(self, left_s: float, doing: str = "") -> None:
        """Passes on how far it is; while something is prepared, what that is in the place of a time."""
        self._doing = doing
        if self._progress is not None and self._job is not None:
            left = left_s + self._left_after
            name = " ".join(part for part in (*label(self._job).values(), doing and f"({doing})") if part)
            self._progress(name, 1.0 - min(left / self._all, 1.0) if self._all else 0.0, None if doing else left)


def target_of(subject: str) -> str:
    """Returns the name under which the rows of a subject that is no artifact appear."""
    return subject if subject in ("aoti", "engine") else f"torch-{subject}"


def label(job: Mapping[str, Any]) -> dict[str, str]:
    """Returns what names a job in a list of failures."""
    if not job:
        return {"subject": "", "variant": "", "scenario": ""}
    known = {key: value for key, value in job.items() if key != "expected_s"}
    source = Path(job["source"]).name
    if job["subject"] != "artifact":
        source = f"{target_of(job['subject'])} of {job['source']}"
    return {"subject": source, "variant": Job.from_json(known).variant, "scenario": str(job["scenario"])}


def failed(error: BaseException) -> dict[str, Any]:
    """Returns the event of a job that ended with an error."""
    if isinstance(error, NeurokitError):
        reasons = "; ".join([error.what, *map(str, getattr(error, "reasons", ()))])
        return {"event": "failed", "reason": reasons, "fix": error.fix}
    text = " ".join(str(error).split())
    return {"event": "failed", "reason": f"{type(error).__name__}: {text[:300]}", "fix": ""}


def run_jobs(
    jobs: Iterable[Job], command: Sequence[str], collector: Collector, on_line: Callable[[str], None] | None = None
) -> None:
    """Runs each job in a process of its own, so that a crash is one failed row and memory is the job's own.

    Args:
        jobs: The jobs, one after the other.
        command: Command line that takes a job as JSON in one more argument and prints events.
        collector: Gathers the events.
        on_line: Is given every line too.
    """
    for job in jobs:
        collector.begin(job)
        if on_line is not None:
            on_line(json.dumps({"event": "job", "job": job.to_json()}))
        with tempfile.TemporaryFile(mode="w+") as complaints:
            with subprocess.Popen(
                [*command, json.dumps(job.to_json())], stdout=subprocess.PIPE, stderr=complaints, text=True, bufsize=1
            ) as child:
                try:
                    _relay(child, collector, on_line)
                except BaseException:
                    child.kill()
                    raise
            complaints.seek(0)
            said = [line.strip() for line in complaints.read()[-4000:].splitlines() if line.strip()]
        if collector.pending:
            reason = f"the process ended with status {child.returncode}" + (f" ({said[-1][:200]})" if said else "")
            collector.lost(reason)
            if on_line is not None:
                on_line(json.dumps({"event": "failed", "reason": reason}))


def _relay(child: subprocess.Popen[str], collector: Collector, on_line: Callable[[str], None] | None) -> None:
    for line in child.stdout or ():
        collector.take(line)
        if on_line is not None:
            on_line(line.rstrip("\n"))


def read_jobs(text: str) -> list[Job]:
    """Reads a list of jobs.

    Raises:
        InputError: If the text is no such list.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise InputError(f"the jobs are no JSON: {error}", expected="a list of jobs") from error
    if not isinstance(data, list):
        raise InputError("the jobs are no list", expected="a list of jobs")
    return [Job.from_json(entry) for entry in data]
