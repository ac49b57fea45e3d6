"""Benchmarks and comparisons for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape

from neurokit.bench.compare import Comparison
from neurokit.bench.run import BenchRun
from neurokit.render.tables import plain_table
from neurokit.reports import LatencyReport
from neurokit.tasks.scoring import metric_of


def bench(run: BenchRun) -> RenderableType:
    """Returns a table of what was measured, why parts of it do not count, and what failed."""
    one = len({report.model for report in run.reports}) == 1
    metered = any(report.energy for report in run.reports)
    heads = [
        "" if one else "model",
        "target",
        "scenario",
        "p50",
        "95 %",
        "p99",
        "per s",
        "memory",
        "energy" if metered else "",
        "verdict",
    ]
    table = plain_table(*filter(None, heads))
    remarks: list[str] = []
    for report in run.reports:
        colour = "green" if report.verdict == "VALID" else "red"
        number = f" ({len(remarks) + 1})" if report.reasons or report.parity_overridden else ""
        cells = [cell for head, cell in zip(heads, _latency_cells(report), strict=False) if head]
        table.add_row(*map(escape, cells), f"[{colour}]{report.verdict}[/]{number}")
        if number:
            said = [*report.reasons, *(["its verification had FAILED"] if report.parity_overridden else [])]
            remarks.append(escape(f"({len(remarks) + 1}) {'; '.join(said)}"))
    failures = [escape(f"not measured: {_failure(entry)}") for entry in run.failures]
    absent = sorted({report.energy_note for report in run.reports if report.energy is None and report.energy_note})
    meter = [escape(f"energy {note}") for note in absent]
    unscored = {str(found) for report in run.reports if (found := report.environment.get("accuracy_note"))}
    meter += [escape(note) for note in sorted(unscored)]
    title = [run.reports[0].model] if one else []
    tables = [table] if run.reports else []
    return Group(
        *title,
        *tables,
        *_scored(run.reports),
        *remarks,
        *failures,
        *meter,
        *(escape(f"note: {note}") for note in run.notes),
    )


def _failure(entry: Mapping[str, str]) -> str:
    name = " ".join(filter(None, (entry["subject"], entry["variant"], entry["scenario"])))
    return f"{name}: {entry['reason']}" + (f" (fix: {entry['fix']})" if entry.get("fix") else "")


def _latency_cells(report: LatencyReport) -> list[str]:
    p50, p99, memory = report.p50, report.p99, report.memory.get("cpu_added")
    scenario = report.scenario if report.batch == 1 else f"{report.scenario}, batch {report.batch}"
    if report.misses is not None and report.deadline_s is not None:
        scenario += f", {report.misses} of {len(report.samples_s)} late ({report.deadline_s * 1e3:g} ms)"
    numerics = "" if report.numerics == "float" else report.numerics
    steps = f"T={report.time_steps}" if report.time_steps else ""
    value, _, interval = p50.text().partition(" [")
    return [
        report.model,
        " ".join(part for part in (report.target, report.variant, numerics, steps) if part),
        scenario,
        value,
        interval.rstrip("]").replace(", ", "-"),
        p99.text().split(" [")[0] if p99 else "-",
        f"{report.throughput.value:,.4g}" if report.throughput.value < 1000 else f"{report.throughput.value:,.0f}",
        f"{memory / 1e6:.0f} MB" if memory else "-",
        report.energy.text() if report.energy else "-",
    ]


def _scored(reports: Sequence[LatencyReport]) -> list[str]:
    """Returns a line on the task's metric of every subject, once for all of its scenarios."""
    found = {
        f"{metric_of(report.scores)} on {report.scores['samples']:,} samples of {report.scores['data']}: "
        + " ".join(part for part in (report.target, report.variant) if part): None
        for report in reports
        if report.scores
    }
    return [escape(line) for line in found]


def comparisons(found: Sequence[Comparison]) -> RenderableType:
    """Returns one line for each comparison, with what else differs under it."""
    colours = {"faster": "green", "slower": "red", "noise": "dim"}
    lines = []
    for entry in found:
        lines.append(f"{escape(entry.key)}: [{colours[entry.outcome]}]{escape(entry.text())}[/]")
        lines += [f"  {escape(note)}" for note in entry.notes]
    return Group(*lines)
