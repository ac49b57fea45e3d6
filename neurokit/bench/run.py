"""Several measurements as one record: run on this machine, kept in one JSON file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from neurokit import atomic, provenance
from neurokit.bench.events import Collector, Progress, run_jobs
from neurokit.bench.job import Job
from neurokit.errors import InputError
from neurokit.plain import first_fault, parse_json, text_of
from neurokit.reports import SCHEMA_VERSION, LatencyReport

KIND = "bench"
_SAID = ("subject", "variant", "scenario", "reason")  # of what could not be measured


@dataclass(frozen=True)
class BenchRun:
    """What one benchmark measured.

    Attributes:
        reports: One entry for each subject and scenario.
        failures: What could not be measured: "subject", "variant", "scenario", "reason", "fix".
        notes: One line each: what a reader should know.
        provenance: Versions and machine of the run.
    """

    reports: tuple[LatencyReport, ...]
    failures: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the record as a JSON object."""
        return {
            "report": KIND,
            "schema_version": SCHEMA_VERSION,
            "reports": [entry.to_json() for entry in self.reports],
            "failures": list(self.failures),
            "notes": list(self.notes),
            "provenance": self.provenance,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BenchRun:
        """Reads what `to_json`, or the script of a pack, wrote.

        Raises:
            InputError: If `data` is no such record.
        """
        if data.get("report") == LatencyReport.KIND:
            return cls((LatencyReport.from_json(data),))
        if data.get("report") != KIND or not isinstance(data.get("reports"), list):
            raise InputError(f"this is a {data.get('report')!r} report", expected=f"a {KIND!r} report")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"the benchmark has schema {data.get('schema_version')!r}",
                expected=f"schema {SCHEMA_VERSION}",
                fix="measure again with this version of neurokit",
            )
        fields = {name: data[name] for name in ("failures", "notes", "provenance") if name in data}
        reports = tuple(LatencyReport.from_json(entry) for entry in data["reports"])
        try:
            run = TypeAdapter(cls).validate_python({"reports": reports, **fields})
        except ValidationError as error:
            place, said = first_fault(error)
            raise InputError(f"the benchmark is invalid at {place}: {said}") from error
        for at, entry in enumerate(run.failures):
            if missing := [name for name in _SAID if name not in entry]:
                raise InputError(f"the benchmark is invalid at failures.{at}: it says no {missing[0]}")
        return run

    def save(self, path: Path) -> None:
        """Writes the record as JSON, whole or not at all."""
        atomic.write_text(path, json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> BenchRun:
        """Reads a JSON file.

        Raises:
            InputError: If it is no benchmark's file.
        """
        return cls.from_json(read_json(path))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Raises:
        InputError: If the file cannot be read or holds something else.
    """
    try:
        data = parse_json(text_of(path))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as JSON: {why}", expected="a JSON file of neurokit") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no JSON object", expected="a JSON file of neurokit")
    return data


def finished(collector: Collector, notes: Sequence[str] = ()) -> BenchRun:
    """Returns what a collector gathered."""
    reports = tuple(LatencyReport.from_json(row) for row in collector.rows)
    return BenchRun(reports, tuple(collector.failures), tuple(notes), provenance.collect())


def run_here(jobs: Sequence[Job], progress: Progress | None = None) -> BenchRun:
    """Runs jobs on this machine, each in a process of its own.

    Ctrl-C ends the run; the report then holds what was measured until then, and says so.
    """
    collector = Collector(progress)
    collector.plan(jobs)
    notes = []
    try:
        run_jobs(jobs, [sys.executable, "-m", "neurokit.bench.worker"], collector)
    except KeyboardInterrupt:
        collector.lost("stopped by the user")
        notes.append("stopped by the user before the end")
    return finished(collector, notes)
