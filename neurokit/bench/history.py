"""A history of benchmarks: one line of JSON for each report, to see how a figure went over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from neurokit import atomic
from neurokit.bench.compare import key
from neurokit.bench.run import BenchRun
from neurokit.errors import InputError
from neurokit.plain import parse_json, text_of


@dataclass(frozen=True)
class Entry:
    """One report in the history.

    Attributes:
        time: When it was measured, UTC, ISO 8601.
        key: Model, target, variant and scenario.
        machine: Processor and GPU.
        git: Commit of neurokit, or "".
        p50_s: Median in seconds.
        low_s: Lower end of its 95 % interval.
        high_s: Upper end.
        samples: Number of samples.
        verdict: "VALID" or "INVALID".
    """

    time: str
    key: str
    machine: str
    git: str
    p50_s: float
    low_s: float
    high_s: float
    samples: int
    verdict: str


_ENTRY = TypeAdapter(Entry)


def entries_of(run: BenchRun) -> list[Entry]:
    """Returns the history's entries of one run."""
    found = []
    for report in run.reports:
        p50, environment = report.p50, report.environment
        machine = environment.get("machine", {})
        name = ", ".join(str(part) for part in (machine.get("cpu"), machine.get("gpu")) if part)
        found.append(
            Entry(
                environment.get("time", ""),
                key(report),
                name,
                environment.get("git", ""),
                p50.value,
                p50.low,
                p50.high,
                len(report.samples_s),
                report.verdict,
            )
        )
    return found


def append(path: Path, run: BenchRun) -> None:
    """Adds a run to a history file, whole or not at all, also where several processes add to it at once.

    Raises:
        InputError: If the file is there and is no history.
        OutputError: If it cannot be written.
    """
    lines = "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries_of(run))
    if path.exists():
        read(path)
    atomic.append_text(path, lines)


def read(path: Path) -> list[Entry]:
    """Reads a history file.

    Raises:
        InputError: If it is none; names the line.
    """
    try:
        lines = text_of(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a history of neurokit bench") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(_ENTRY.validate_python(parse_json(line)))
        except ValueError as error:  # pydantic's error is one, too
            raise InputError(f"{path}, line {number}: no entry of a history", expected="a history file") from error
    return found


def series(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Returns the entries by what was measured and where, each in the order of time."""
    found: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.time):
        found.setdefault(f"{entry.key} · {entry.machine}", []).append(entry)
    return found
