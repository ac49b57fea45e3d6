"""What a token costs, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from neurokit.quantity import Quantity
from neurokit.reports.tokens import TokenReport

_HEADS = {
    "pairs": "active\npairs",
    "products": "products of\nactivations",
    "weighted": "products with\nweights",
    "read": "cache\nread",
    "written": "cache\nwritten",
}


def tokens(report: TokenReport) -> RenderableType:
    """Returns a table of the parts, the prices, and what has none."""
    table = Table(title=f"{report.model}: token {report.tokens:,} of a text (analytic)")
    table.add_column("part")
    for head in ("parts", *_HEADS.values()):
        table.add_column(head, justify="right")
    for row in report.patterns:
        table.add_row(row.pattern, str(row.parts), *(_text(row.counts[name]) for name in _HEADS))
    table.add_row("all", "", *(_text(report.total[name]) for name in _HEADS))
    table.add_row(f"mean of {report.tokens:,}", "", *(_text(report.mean[name]) for name in _HEADS))
    lines = []
    for chip in report.chips:
        lines += [
            f"{chip.chip}: {_plain(name)} {energy.text()} ({energy.kind})" for name, energy in chip.energy.items()
        ]
        lines += [f"{chip.chip}: {_plain(name)} not priced: {why}" for name, why in chip.not_priced.items()]
    return Group(table, *lines, *(f"assumed: {line}" for line in report.assumptions))


def _text(count: Quantity) -> str:
    return count.text() if count.unit else f"{count.value:,.0f}"


def _plain(name: str) -> str:
    return _HEADS[name].replace("\n", " ")
