"""The page of a deployment: what to use and why on the first screen, then every figure, then how it was obtained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurokit import atomic
from neurokit._version import __version__
from neurokit.page import pareto
from neurokit.page.build import show
from neurokit.page.downloads import Download, drawing_link, file_name
from neurokit.page.metrics import Metric
from neurokit.page.row import Row
from neurokit.page.tables import as_csv, as_latex, link_to
from neurokit.page.templating import template
from neurokit.quantity import Quantity
from neurokit.reports.deploy import DeployReport, DeployRow

_TITLES = {
    "p50": ("latency, median", "s"),
    "energy": ("energy of one inference", "J"),
    "size": ("size", "B"),
}
_PLAIN = ("p50", "p99", "size", "memory", "flash", "ram", "energy")
_HEADINGS = {name: name for name in _PLAIN} | {"ram": "RAM"}


def save_html(report: DeployReport, path: Path) -> None:
    """Writes the page, one file that needs nothing else, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    atomic.write_text(path, render_html(report))


def render_html(report: DeployReport) -> str:
    """Returns the page's HTML."""
    metric = _metric(report)
    keys = [*([metric.name] if metric else []), *_HEADINGS]
    used = [key for key in keys if any(key in row.figures for row in report.rows)]
    good = [row for row in report.rows if row.status in ("ok", "lower-bound")]
    folded = [row for row in report.rows if row.status in ("invalid", "failed")]
    if report.best is not None and report.best in folded:
        good, folded = [report.best, *good], [row for row in folded if row is not report.best]
    legend, panels = _plots(report, metric)
    heads = ["form", "device", "numerics", "T", "parity", *(_HEADINGS.get(key, key) for key in used)]
    return template("deploy.html.j2").render(
        report=report,
        version=__version__,
        best=report.best,
        heads=heads,
        good=[_cells(row, used, metric) for row in good],
        folded=[(row, _cells(row, used, metric)) for row in folded],
        filters=_filters(good),
        legend=legend,
        panels=panels,
        downloads=_downloads(report, heads, used, metric),
        sources=[(row.name, _sources(row, metric)) for row in report.rows if row.figures],
        metric_name=metric.name if metric else "",
    )


def _metric(report: DeployReport) -> Metric | None:
    found = report.metric
    return None if found is None else Metric(found.name, found.share, found.less_is_better)


def _cells(row: DeployRow, used: Sequence[str], metric: Metric | None) -> dict[str, Any]:
    """Returns a row of the table: plain cells, then figures with what they are sorted by."""
    plain = [row.form, row.device, row.numerics or "-", str(row.time_steps or "-"), row.parity or "-"]
    cells = [{"text": text, "value": "" if text == "-" else text, "kind": ""} for text in plain]
    for key in used:
        found = row.figures.get(key)
        if found is None:
            cells.append({"text": "-", "value": "", "kind": ""})
            continue
        least = "≥ " if row.status == "lower-bound" and key == "energy" else ""
        own = metric if metric is not None and key == metric.name else None
        cells.append({"text": least + show(found, own), "value": repr(found.value), "kind": found.kind})
    return {"row": row, "cells": cells, "notes": row.notes, "reason": row.reason}


def _filters(rows: Sequence[DeployRow]) -> list[tuple[str, int, list[str]]]:
    """Returns the columns that can be filtered by: name, number of the column, values."""
    columns = [
        ("device", 1, [row.device for row in rows]),
        ("form", 0, [row.form for row in rows]),
        ("numerics", 2, [row.numerics or "-" for row in rows]),
    ]
    return [(name, at, list(dict.fromkeys(values))) for name, at, values in columns if len(set(values)) > 1]


def _plots(report: DeployReport, metric: Metric | None) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """Returns the legend, and each plot with the file that it can be taken away as."""
    placed = [row for row in report.rows if row.status != "failed" and not (row.simulated and row.status == "invalid")]
    rows = [_row(row, metric) for row in placed]  # a chip that the network does not fit has no mark
    titles = {**_TITLES, **({metric.name: metric.title} if metric else {})}
    look = pareto.looks([row for row in rows if sum(key in row.figures for key in titles) > 1])
    up = metric.name if metric else "size"
    pairs = [("p50", up), ("energy", up), *([("size", up)] if metric else []), ("p50", "energy")]
    panels = []
    for across, key in pairs:
        if sum(across in row.figures and key in row.figures for row in rows) < 2:
            continue  # one mark compares nothing
        drawing = pareto.pareto(rows, across, key, titles, look)
        if drawing:
            name = f"{titles[key][0]} against {titles[across][0]}"
            file = file_name(report.model, key, across)
            panels.append({"svg": drawing, "name": name, "file": file, "link": drawing_link(drawing)})
    return [(pareto.key(shape), name) for name, shape in look.items()], panels


def _row(row: DeployRow, metric: Metric | None) -> Row:
    form = row.device if row.simulated else row.form
    return Row(
        "",
        form,
        "" if row.simulated else row.device,
        time_steps=row.time_steps,
        figures=row.figures,
        verdict="INVALID" if row.status == "invalid" else "",
        simulated=row.simulated,
        metric=metric,
    )


def _downloads(
    report: DeployReport, heads: Sequence[str], used: Sequence[str], metric: Metric | None
) -> list[Download]:
    """Returns links to the table as CSV, in SI units with intervals, and as LaTeX, as it is shown."""
    columns = [f"{name} ({end})" for name in used for end in ("value", "low", "high")]
    plain = [[row.form, row.device, row.numerics, str(row.time_steps or ""), row.parity] for row in report.rows]
    full = [
        [*cells, *(end for key in used for end in _ends(row.figures.get(key))), row.status, row.reason]
        for cells, row in zip(plain, report.rows, strict=True)
    ]
    names = [*heads[: len(plain[0]) if plain else 5], *columns, "status", "reason"]
    shown = [
        [cell["text"] for cell in _cells(row, used, metric)["cells"]] for row in report.rows if row.status != "failed"
    ]
    return [
        Download("table as CSV", f"{file_name(report.model)}.csv", link_to(as_csv(names, full), "text/csv")),
        Download("table as LaTeX", f"{file_name(report.model)}.tex", link_to(as_latex(heads, shown), "text/x-tex")),
    ]


def _ends(quantity: Quantity | None) -> tuple[str, str, str]:
    return ("", "", "") if quantity is None else (repr(quantity.value), repr(quantity.low), repr(quantity.high))


def _sources(row: DeployRow, metric: Metric | None) -> list[tuple[str, str, str, str]]:
    return [
        (key, show(found, metric if metric is not None and key == metric.name else None), found.kind, found.source)
        for key, found in row.figures.items()
    ]
