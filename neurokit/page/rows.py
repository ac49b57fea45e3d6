"""What the page shows, gathered from artifact folders and JSON files: one row for each subject and scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from neurokit import statistics as samples
from neurokit.artifact import Artifact
from neurokit.bench import history
from neurokit.bench.run import BenchRun, read_json
from neurokit.bench.subject import numerics_of
from neurokit.errors import InputError
from neurokit.page import chips
from neurokit.page.metrics import ACCURACY, of_artifact, of_scores
from neurokit.page.row import Row
from neurokit.quantity import Quantity
from neurokit.reports import LatencyReport, ParityReport
from neurokit.tasks.intervals import wilson

_WORTH_SAYING = 0.01  # of an output; a flipped spike shows, rounding does not


@dataclass
class Content:
    """Everything on the page.

    Attributes:
        rows: The big table.
        energies: Energy reports as JSON objects.
        parities: Verifications, each with what it is of.
        failures: What could not be measured.
        notes: Remarks of the runs.
        unmetered: Why no energy was measured, with the number of rows that this is of.
        history: Entries of a history file.
    """

    rows: list[Row] = field(default_factory=list)
    energies: list[dict[str, Any]] = field(default_factory=list)
    parities: list[tuple[str, ParityReport]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unmetered: Counter[str] = field(default_factory=Counter)
    history: list[history.Entry] = field(default_factory=list)


def gather(places: Sequence[Path]) -> Content:
    """Reads artifact folders and the JSON files of bench, energy, verify and accuracy, and history files.

    Raises:
        InputError: If a file is none of these; names it.
        ArtifactError: If a folder is no artifact or is damaged.
    """
    content, accuracies = Content(), []
    for place in places:
        if place.suffix == ".jsonl":
            content.history += history.read(place)
        elif place.is_dir() or not place.suffix:
            _take_artifact(Artifact.load(place), content)
        else:
            accuracies += _take_file(read_json(place), place, content)
    if not (content.rows or content.energies or content.parities or content.history):
        raise InputError("there is nothing to report", expected="artifact folders or JSON files of neurokit")
    _drop_bare_artifacts(content)
    content.rows = [chips.with_energy(_with_accuracy(row, accuracies), content.energies) for row in content.rows]
    for energy in content.energies:
        content.rows += chips.table_rows(energy, content.rows)
    return content


def _take_file(data: Mapping[str, Any], place: Path, content: Content) -> list[dict[str, Any]]:
    """Takes one JSON file; returns its accuracies."""
    kind = data.get("report")
    if kind in ("bench", "latency"):
        run = BenchRun.from_json(data)
        content.rows += [_latency_row(report) for report in run.reports]
        content.failures += run.failures
        content.notes += [note for note in run.notes if note not in content.notes]
        content.unmetered.update(_unmetered(run.reports))
    elif kind == "parity":
        report = ParityReport.from_json(data)
        content.parities.append((f"{report.model} · {report.target} · {report.form}", report))
    elif kind == "accuracy":
        return [_checked_accuracy(entry, place) for entry in data.get("entries", [data])]
    elif isinstance(data.get("energy"), Mapping):
        return _take_file(data["energy"], place, content)
    elif "chips" in data and "network" in data:
        content.energies.append(_checked_energy(data, place))
    else:
        raise InputError(
            f"{place} is no report that this page knows",
            expected="a JSON file of neurokit bench, energy or verify, or of accuracies",
        )
    return []


def _checked_energy(data: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Refuses an energy report whose figures cannot be read, before they are needed."""
    try:
        for entry in (*data["chips"], *data.get("estimators", ())):
            if entry["total"] is not None:
                Quantity(**entry["total"])
            if entry.get("latency"):
                Quantity(**entry["latency"]["inference"])
            str(entry["title"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{place} is no energy report: {error!r}", expected="a file of neurokit energy") from error
    return dict(data)


def _checked_accuracy(entry: Any, place: Path) -> dict[str, Any]:
    try:
        correct, total = int(entry["correct"]), int(entry["total"])
        known = {"model": str(entry["model"]), "data": str(entry["data"]), "correct": correct, "total": total}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{place} holds an accuracy without model, correct, total and data", expected="all four in each entry"
        ) from error
    if not 0 <= correct <= total or not total:
        raise InputError(f"{place}: {correct} correct of {total}", expected="0 <= correct <= total, total > 0")
    return {**entry, **known}


def _take_artifact(artifact: Artifact, content: Content) -> None:
    manifest = artifact.manifest
    parity = ParityReport.from_json(manifest.parity) if manifest.parity else None
    size = sum(info.bytes for info in manifest.files.values())
    steps = manifest.time_steps if isinstance(manifest.time_steps, int) else None
    verdict = parity.verdict if parity else "not verified"
    figures = {"size": Quantity.exact(size, "B", "measured", f"{len(manifest.files)} files of the artifact")}
    scored = of_artifact(manifest.target_info.get("accuracy"))
    if scored is not None:
        figures[scored[0].name] = scored[1]
    row = Row(
        manifest.model.name,
        manifest.target,
        numerics=numerics_of(manifest),
        time_steps=steps,
        parity=verdict,
        figures=figures,
        metric=scored and scored[0],
        remarks=("its verification FAILED",) if verdict == "failed" else (),
    )
    content.rows.append(row)
    if parity is not None:
        free = " · T free" if manifest.time_steps == "dynamic" else ""
        content.parities.append((row.name + free, parity))


def _drop_bare_artifacts(content: Content) -> None:
    """Leaves out an artifact's own row where a latency row says all that it says."""
    timed = {(row.model, row.target, row.numerics, row.time_steps) for row in content.rows if row.scenario}
    timed |= {(model, target, numerics, None) for model, target, numerics, _ in timed}  # T was left open
    bare = [row for row in content.rows if not row.scenario]
    content.rows = [
        _with_metric(row, bare)
        for row in content.rows
        if row.scenario or (row.model, row.target, row.numerics, row.time_steps) not in timed
    ]


def _with_metric(row: Row, bare: Sequence[Row]) -> Row:
    """Adds the metric that export measured of an artifact to a latency row of the same one that has none."""
    if row.metric is not None or not row.scenario:
        return row
    for other in bare:
        alike = (row.model, row.target, row.numerics) == (other.model, other.target, other.numerics)
        if other.metric is not None and alike and other.time_steps in (row.time_steps, None):
            name = other.metric.name
            return replace(row, figures={**row.figures, name: other.figures[name]}, metric=other.metric)
    return row


def _latency_row(report: LatencyReport) -> Row:
    figures: dict[str, Quantity | None] = {
        "p50": report.p50,
        "p90": report.p90,
        "p95": report.p95,
        "p99": report.p99,
        "mean": report.mean,
        "per_step": report.per_step,
        "throughput": report.throughput,
        "energy": report.energy,
        "min": _one(min(report.samples_s), "s", "fastest sample"),
        "max": _one(max(report.samples_s), "s", "slowest sample"),
        "load": _one(report.load_s, "s", "opening the model, once"),
        "first": _one(report.first_s, "s", "the first inference, once"),
        "size": _one(report.bytes_on_disk, "B", "files of the artifact"),
        "output_error": _one(report.output_error, "", "relative L2 distance of the output from the reference's"),
        "memory": _one(report.memory.get("cpu_added"), "B", "peak resident memory, added by loading and running"),
        "gpu_memory": _one(report.memory.get("gpu"), "B", "peak memory on the GPU"),
    }
    figures |= {
        name: _one(samples.percentile(values, 50)[0], "s", "median, by events of the device")
        for name, values in report.phases_s.items()
        if values
    }
    scored = of_scores(report.scores)
    if scored is None and report.accuracy:
        scored = ACCURACY, wilson(**report.accuracy)
    if scored is not None:
        figures[scored[0].name] = scored[1]
    return Row(
        report.model,
        report.target,
        report.variant,
        report.numerics,
        report.time_steps,
        _scenario(report),
        report.parity,
        {name: value for name, value in figures.items() if value is not None},
        report.samples_s,
        report.verdict,
        _remarks(report),
        _machine(report.environment),
        metric=scored and scored[0],
    )


def _one(value: float | None, unit: str, source: str) -> Quantity | None:
    return None if value is None else Quantity.exact(value, unit, "measured", source)


def _scenario(report: LatencyReport) -> str:
    parts = ["stream", "each step"] if report.scenario == "stream" else [report.scenario]
    parts += [f"batch {report.batch}"] if report.batch > 1 else []
    parts += [f"{report.streams} streams"] if report.streams > 1 else []
    parts += [f"every {report.deadline_s * 1e3:g} ms"] if report.deadline_s else []
    return ", ".join(parts)


def _remarks(report: LatencyReport) -> tuple[str, ...]:
    found = list(report.reasons)
    if report.parity_overridden:
        found.insert(0, "measured with --allow-mismatch: its verification FAILED or was never made")
    if report.output_error is not None and report.output_error > _WORTH_SAYING:
        why = ", by spikes that rounding flipped" if report.parity == "benign rounding" else ""
        found.append(f"its output differs by {report.output_error:.0%} (relative L2) from the reference's{why}")
    found += [str(note)] if (note := report.environment.get("accuracy_note")) else []
    if report.misses is not None:
        found.append(f"{report.misses} of {len(report.samples_s)} time steps missed their deadline")
    if report.jitter is not None:
        found.append(f"jitter {report.jitter.text()}, {report.jitter.source}")
    return tuple(found)


def _unmetered(reports: Sequence[LatencyReport]) -> list[str]:
    """Returns, for each report without a measured energy, why."""
    return [report.energy_note for report in reports if report.energy is None and report.energy_note]


def _machine(environment: Mapping[str, Any]) -> str:
    # What a device noted of itself is read as it came: a part of another kind is left out.
    held = {name: environment.get(name) for name in ("machine", "versions", "during")}
    machine, versions, during = ({} if not isinstance(value, Mapping) else value for value in held.values())
    runtimes = [f"{name} {versions[name]}" for name in ("onnxruntime", "torch", "tensorrt") if name in versions]
    threads = environment.get("threads_asked") or "all"
    parts = [
        machine.get("cpu"),
        machine.get("gpu"),
        machine.get("system"),
        *runtimes,
        f"{threads} threads",
        environment.get("arithmetic"),
        f"governor {machine.get('governor', 'unknown')}",
        environment.get("time"),
    ]
    load = during.get("competing_cpus")
    parts += [f"other processes used {load:.2f} CPUs"] if isinstance(load, int | float) else []
    return ", ".join(str(part) for part in parts if part)


def _with_accuracy(row: Row, accuracies: Sequence[Mapping[str, Any]]) -> Row:
    """Adds an accuracy from a file, where it is of the row's model and of nothing that the row is not."""
    if row.metric is not None:
        return row
    for entry in accuracies:
        keys = [key for key in ("target", "numerics", "time_steps") if key in entry]
        if entry["model"] == row.model and all(entry[key] == getattr(row, key) for key in keys):
            found = wilson(entry["correct"], entry["total"], entry["data"])
            return replace(row, figures={**row.figures, "accuracy": found}, metric=ACCURACY)
    return row
