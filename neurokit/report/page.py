"""The page itself: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurokit import atomic
from neurokit._version import __version__
from neurokit.bench import history
from neurokit.quantity import Quantity
from neurokit.report import plots
from neurokit.report.rows import Content, Row, gather

# Key, heading; each is one column of quantities.
COLUMNS = (
    ("accuracy", "accuracy"), ("p50", "p50"), ("p99", "p99"), ("throughput", "per second"), ("energy", "energy"),
    ("memory", "peak memory"), ("gpu_memory", "GPU memory"), ("size", "size"),
)  # fmt: skip
_TITLES = {
    "accuracy": ("accuracy", "%"), "p50": ("latency, median", "s"), "energy": ("energy of one inference", "J"),
}  # fmt: skip
_PAIRS = (("p50", "accuracy"), ("energy", "accuracy"), ("p50", "energy"))
_PLAIN_SCENARIOS = ("single", "stream", "simulated")
_SHOWN_DISTRIBUTIONS = 24
_NONE = "-"


@dataclass(frozen=True)
class Cell:
    """One figure in the table: what is shown, what it is sorted by, and how it was obtained."""

    heading: str
    text: str
    value: str
    kind: str = ""


def build(places: Sequence[Path], html: Path) -> Content:
    """Writes the page.

    Args:
        places: Artifact folders, and JSON files of bench, energy, verify and accuracies, and history files (.jsonl).
        html: The file to write, whole or not at all.

    Returns:
        What is on it.

    Raises:
        InputError: If a file is none of these.
        ArtifactError: If a folder is no artifact or is damaged.
        OutputError: If the page cannot be written.
    """
    content = gather(places)
    atomic.write_text(html, render(content))
    return content


def render(content: Content) -> str:
    """Returns the page's HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("neurokit.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    used = [(key, heading) for key, heading in COLUMNS if any(key in row.figures for row in content.rows)]
    compared = [row for row in content.rows if row.scenario.partition(",")[0] in _PLAIN_SCENARIOS]
    series = history.series(content.history)
    return environment.get_template("report.html.j2").render(
        version=__version__, models=sorted({row.model for row in content.rows}), headings=_headings(used),
        rows=[_table_row(number, row, used) for number, row in enumerate(content.rows, 1)],
        invalid=sum(row.verdict == "INVALID" for row in content.rows),
        failed=[row for row in content.rows if row.parity in ("failed", "not verified")],
        sources=[_sources(row) for row in content.rows],
        distributions=plots.distributions([r for r in content.rows if r.samples_s][:_SHOWN_DISTRIBUTIONS]),
        left_out=max(sum(bool(row.samples_s) for row in content.rows) - _SHOWN_DISTRIBUTIONS, 0),
        panels=[plot for across, up in _PAIRS if (plot := _panel(content.rows, compared, across, up))],
        has_accuracy=any("accuracy" in row.figures for row in content.rows),
        chips=[_chips(energy) for energy in content.energies],
        parities=[_parity(report) for report in content.parities],
        history=[(name, plots.history_plot(name, entries)) for name, entries in series.items()],
        failures=content.failures, notes=content.notes,
    )  # fmt: skip


def _panel(rows: Sequence[Row], compared: Sequence[Row], across: str, up: str) -> str:
    """Returns a Pareto plot whose numbers are those of the table."""
    kept = [row if row in compared else Row(row.model, row.target) for row in rows]
    return plots.pareto(kept, across, up, _TITLES)


def _headings(used: Sequence[tuple[str, str]]) -> list[str]:
    return ["#", "model", "target", "numerics", "T", "scenario", "parity", "verdict", *(name for _, name in used)]


def _table_row(number: int, row: Row, used: Sequence[tuple[str, str]]) -> dict[str, Any]:
    target = f"{row.target}, {row.variant}" if row.variant else row.target
    steps = str(row.time_steps) if row.time_steps else _NONE
    plain = [("model", row.model), ("target", target), ("numerics", row.numerics)]
    cells = [Cell(heading, text, text) for heading, text in plain]
    cells.append(Cell("T", steps, str(row.time_steps or "")))
    cells += [Cell("scenario", row.scenario or _NONE, row.scenario), Cell("parity", row.parity or _NONE, row.parity)]
    cells.append(Cell("verdict", row.verdict or _NONE, row.verdict))
    cells += [_figure(heading, row.figures.get(key), key) for key, heading in used]
    return {"number": number, "cells": cells, "remarks": row.remarks, "bad": row.parity in ("failed", "not verified")}


def _figure(heading: str, quantity: Quantity | None, key: str) -> Cell:
    if quantity is None:
        return Cell(heading, _NONE, "")
    return Cell(heading, show(quantity, key), repr(quantity.value), quantity.kind)


def show(quantity: Quantity, key: str = "") -> str:
    """Returns a quantity as text; an accuracy in percent."""
    if key == "accuracy":
        return f"{quantity.value:.1%} [{quantity.low * 100:.1f}, {quantity.high * 100:.1f}]"
    if quantity.unit == "1/s":
        return f"{quantity.value:,.4g} /s" if quantity.value < 1000 else f"{quantity.value:,.0f} /s"
    return quantity.text()


def _sources(row: Row) -> dict[str, Any]:
    entries = [(key, show(quantity, key), quantity.kind, quantity.source) for key, quantity in row.figures.items()]
    return {"name": row.name, "machine": row.machine, "entries": entries}


def _chips(energy: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the chips section shows of one energy report."""
    baselines = [entry for entry in energy.get("estimators", ()) if str(entry["name"]).startswith("ann-")]
    rows = [
        {
            "title": chip["title"], "total": Quantity(**chip["total"]) if chip["total"] else None,
            "status": chip.get("status", ""), "fits": chip.get("fits", True),
            "ratios": [_ratio(chip["total"], entry["total"]) for entry in baselines],
            "latency": Quantity(**chip["latency"]["inference"]).text() if chip.get("latency") else "unknown",
            "sources": chip.get("sources", ()), "unpriced": chip.get("unpriced", ()),
        }
        for chip in energy["chips"]
    ]  # fmt: skip
    others = [entry for entry in energy.get("estimators", ()) if entry not in baselines]
    return {
        "network": energy["network"], "steps": energy.get("time_steps"), "rows": rows,
        "baselines": [(entry["title"], Quantity(**entry["total"]), entry.get("source", "")) for entry in baselines],
        "estimators": [(entry["title"], Quantity(**entry["total"]), entry.get("source", "")) for entry in others],
        "comparison": energy.get("comparison", ()), "verdict": (energy.get("verdict") or {}).get("text", ""),
        "assumptions": energy.get("assumptions", ()), "uncounted": energy.get("uncounted", ()),
    }  # fmt: skip


def _ratio(chip: Mapping[str, Any] | None, baseline: Mapping[str, Any]) -> str:
    if chip is None or not baseline["value"]:
        return _NONE
    return f"{chip['value'] / baseline['value']:.3g}"


def _parity(report: Any) -> dict[str, Any]:
    return {
        "name": f"{report.model} on {report.target} ({report.form})", "verdict": report.verdict,
        "flipped": report.spikes_flipped, "compared": report.spikes_compared, "error": report.output_error_free,
        "tolerance": report.output_tolerance, "top1": report.top1_agreement, "notes": report.notes,
        "first": report.first_divergence,
    }  # fmt: skip
