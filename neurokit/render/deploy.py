"""A deployment for people in a terminal: the answer first, then the table, then what failed and why."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape

from neurokit.quantity import Quantity
from neurokit.render.tables import plain_table
from neurokit.reports.deploy import DeployReport, DeployRow, Metric


def deploy(report: DeployReport) -> RenderableType:
    """Returns the report: what to use and why, every row, and the reasons of those without figures."""
    warnings = [f"[red]warning: {escape(line)}[/]" for line in report.warnings]
    head = [f"[bold]{escape(line)}[/]" if n == 0 else escape(line) for n, line in enumerate(report.answer)]
    table = plain_table("", "form", "device", *([report.metric.name] if report.metric else []), *_HEADS)
    shown = [row for row in report.rows if row.status != "failed"]
    best = report.best
    for row in shown:
        metric = [_metric(row, report.metric)] if report.metric else []
        table.add_row("*" if row is best else "", *map(escape, (row.form, row.device, *metric, *_figures(row))))
    why = [escape(f"{row.name}: {row.status}: {row.reason}") for row in report.rows if row.reason]
    steps = f"{report.steps_done} steps done, {report.steps_kept} kept from before"
    return Group(*warnings, *head, *([table] if shown else []), *why, *map(escape, report.notes), steps, *warnings)


_HEADS = ("p50", "p99", "size", "energy", "")


def _metric(row: DeployRow, metric: Metric) -> str:
    found = row.figures.get(metric.name)
    if found is None:
        return "-"
    return f"{found.value * 100:.1f} %" if metric.share else f"{found.value:.4g}"


def _figures(row: DeployRow) -> list[str]:
    cells = [_text(row.figures.get(name)) for name in ("p50", "p99", "size", "energy")]
    return [*cells, "" if row.status == "ok" else row.status]


def _text(quantity: Quantity | None) -> str:
    return "-" if quantity is None else Quantity.exact(quantity.value, quantity.unit, quantity.kind, "").text()
