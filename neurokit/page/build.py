"""The page itself: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neurokit import atomic
from neurokit._version import __version__
from neurokit.bench import history
from neurokit.page import chips, pareto, plots
from neurokit.page.downloads import Download, pictures
from neurokit.page.metrics import Metric, metrics_of
from neurokit.page.row import Row
from neurokit.page.rows import Content, gather
from neurokit.page.tables import as_csv, as_latex, link_to
from neurokit.page.templating import template
from neurokit.quantity import Quantity
from neurokit.quantity import _prefix as prefix_of
from neurokit.reports import ParityReport

# Key, heading; each is one column of quantities, after those of the tasks' metrics.
COLUMNS = (
    ("p50", "p50"),
    ("p99", "p99"),
    ("throughput", "per second"),
    ("energy", "energy"),
    ("memory", "peak memory"),
    ("gpu_memory", "GPU memory"),
    ("size", "size"),
)
METRIC = "metric"  # the one column of several tasks' metrics: one each would be empty but for its own models
# Heading and text of what is no figure; a column that no row fills is left out.
_PLAIN: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("model", lambda row: row.model),
    ("target", lambda row: f"{row.target}, {row.variant}" if row.variant else row.target),
    ("numerics", lambda row: row.numerics),
    ("T", lambda row: str(row.time_steps or "")),
    ("scenario", lambda row: row.scenario),
    ("parity", lambda row: row.parity),
    ("verdict", lambda row: row.verdict),
)
_TITLES = {
    "p50": ("latency, median", "s"),
    "energy": ("energy of one inference", "J"),
}
_INFERENCES = ("single", "simulated")  # a sample is one whole inference: comparable in a plot
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
    metrics = metrics_of(content.rows)
    columns = [*((key, key) for key in metrics), *COLUMNS]
    used = [(key, heading) for key, heading in columns if any(key in row.figures for row in content.rows)]
    titles = {**_TITLES, **{key: metric.title for key, metric in metrics.items()}}
    pairs = [*((across, key) for key in metrics for across in ("p50", "energy")), ("p50", "energy")]
    common = _Common.of(content.rows)
    compared = [row for row in content.rows if row.scenario.partition(",")[0] in _INFERENCES]
    compared = [common.without(row) for row in compared]
    timed = [row for row in content.rows if row.samples_s]
    look = pareto.looks([row for row in compared if sum(key in row.figures for key in titles) > 1])
    series = history.series(content.history)
    networks = chips.sections(content.energies)
    headings, table = _table(content.rows, used, common)
    return template("report.html.j2").render(
        version=__version__,
        models=sorted({row.model for row in content.rows}),
        headings=headings,
        common=common.text,
        rows=table,
        invalid=sum(row.verdict == "INVALID" for row in content.rows),
        timed=len(timed),
        failed=[row for row in content.rows if row.parity in ("failed", "not verified")],
        sources=[_sources(row) for row in content.rows],
        distributions=pictures(
            "distributions",
            plots.distributions(
                timed[:_SHOWN_DISTRIBUTIONS], [_strip_name(common.without(row)) for row in timed[:_SHOWN_DISTRIBUTIONS]]
            ),
        ),
        downloads=_downloads(content.rows, used),
        left_out=max(len(timed) - _SHOWN_DISTRIBUTIONS, 0),
        panels=[
            picture
            for across, up in pairs
            for picture in pictures(f"{up}-{across}", [pareto.pareto(compared, across, up, titles, look)])
        ],
        legend=[(pareto.key(shape), name) for name, shape in look.items()],
        has_metric=bool(metrics),
        chips=networks,
        unspiking=chips.unspiking(networks),
        parities=[_parity(name, report) for name, report in content.parities],
        history=[(name, plots.history_plot(name, entries)) for name, entries in series.items() if len(entries) > 1],
        single=sum(len(entries) == 1 for entries in series.values()),
        failures=content.failures,
        notes=[*content.notes, *(f"energy of {n} measured rows {why}" for why, n in content.unmetered.items())],
    )


@dataclass(frozen=True)
class _Common:
    """What all rows share, said once instead of in every row."""

    model: str = ""
    variant: str = ""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Common:
        models = {row.model for row in rows}
        variants = {row.variant for row in rows if row.samples_s}
        return cls(models.pop() if len(models) == 1 else "", variants.pop() if len(variants) == 1 else "")

    @property
    def text(self) -> str:
        return f"Everything was measured with: {self.variant}." if self.variant else ""

    def without(self, row: Row) -> Row:
        """Returns the row with only what tells it apart."""
        variant = "" if row.variant == self.variant else row.variant
        return replace(row, model="" if self.model else row.model, variant=variant)


def _strip_name(row: Row) -> str:
    """Returns a row's name without the scenario that most rows are of."""
    return row.name.removesuffix(" · single")


def _table(
    rows: Sequence[Row], used: Sequence[tuple[str, str]], common: _Common
) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns headings and rows of the table."""
    short = [common.without(row) for row in rows]
    plain = [(heading, text) for heading, text in _PLAIN if any(map(text, short))]
    metrics = metrics_of(rows)
    joined = len(metrics) > 1
    figures = [(key, heading) for key, heading in used if not (joined and key in metrics)]
    headings = ["#", *(heading for heading, _ in plain), *([METRIC] if joined else []), *(name for _, name in figures)]
    made = []
    for number, row in enumerate(short, 1):
        cells = [Cell(heading, text(row) or _NONE, text(row)) for heading, text in plain]
        cells += [_all_metrics(row, metrics)] if joined else []
        cells += [_figure(heading, row.figures.get(key), _metric(row, key)) for key, heading in figures]
        made.append({"number": number, "cells": cells, "remarks": row.remarks})
    return headings, made


def _all_metrics(row: Row, metrics: Mapping[str, Metric]) -> Cell:
    """Returns the cell of the metrics that a row has, each with its name."""
    said = [(name, row.figures[name]) for name in metrics if name in row.figures]
    if not said:
        return Cell(METRIC, _NONE, "")
    text = ", ".join(f"{name} {show(quantity, _metric(row, name))}" for name, quantity in said)
    return Cell(METRIC, text, repr(said[0][1].value), said[0][1].kind)


def _downloads(rows: Sequence[Row], used: Sequence[tuple[str, str]]) -> list[Download]:
    """Returns the table of figures as CSV, in SI units with intervals, and as LaTeX, as it is shown."""
    heads = ["model", "target", "variant", "numerics", "T", "scenario", "parity", "verdict"]
    plain = [
        [
            row.model,
            row.target,
            row.variant,
            row.numerics,
            str(row.time_steps or ""),
            row.scenario,
            row.parity,
            row.verdict,
        ]
        for row in rows
    ]
    full = [
        cells + [repr(end) if q else "" for key, _ in used for q in [row.figures.get(key)] for end in _ends(q)]
        for cells, row in zip(plain, rows, strict=True)
    ]
    shown = [
        [*(cells[at] for at in (0, 1, 3, 4)), *(_figure("", row.figures.get(k), _metric(row, k)).text for k, _ in used)]
        for cells, row in zip(plain, rows, strict=True)
    ]
    columns = [f"{key} ({end})" for key, _ in used for end in ("value", "low", "high")]
    names = [heading for _, heading in used]
    return [
        Download("table as CSV", "figures.csv", link_to(as_csv([*heads, *columns], full), "text/csv")),
        Download(
            "table as LaTeX",
            "figures.tex",
            link_to(as_latex(["model", "target", "numerics", "T", *names], shown), "text/x-tex"),
        ),
    ]


def _ends(quantity: Quantity | None) -> tuple[float, float, float]:
    return (0.0, 0.0, 0.0) if quantity is None else (quantity.value, quantity.low, quantity.high)


def _metric(row: Row, key: str) -> Metric | None:
    """Returns the metric that a figure is, or None."""
    return row.metric if row.metric is not None and row.metric.name == key else None


def _figure(heading: str, quantity: Quantity | None, metric: Metric | None) -> Cell:
    if quantity is None:
        return Cell(heading, _NONE, "")
    return Cell(heading, show(quantity, metric), repr(quantity.value), quantity.kind)


def show(quantity: Quantity, metric: Metric | None = None) -> str:
    """Returns a quantity as text; a metric that is a share in percent."""
    if metric is not None:
        return metric.text(quantity)
    if quantity.unit == "1/s":
        return f"{quantity.value:,.4g} /s" if quantity.value < 1000 else f"{quantity.value:,.0f} /s"
    if quantity.unit in ("s", "J", "B") and quantity.low < quantity.high:  # as many digits as the value has
        scale, letter = prefix_of(float(f"{quantity.value:.4g}"))
        value, low, high = (f"{each / scale:.4g}" for each in (quantity.value, quantity.low, quantity.high))
        return f"{value} {letter}{quantity.unit} [{low}, {high}]"
    return quantity.text()


def _sources(row: Row) -> dict[str, Any]:
    entries = [
        (key, show(quantity, _metric(row, key)), quantity.kind, quantity.source)
        for key, quantity in row.figures.items()
    ]
    return {"name": row.name, "machine": row.machine, "entries": entries}


def _parity(name: str, report: ParityReport) -> dict[str, Any]:
    agreement = _NONE if report.top1_agreement is None else f"{report.top1_agreement:.1%}"
    first = report.first_divergence
    where = [f"first divergence at time step {first[0]} in {first[1]}"] if first else []
    proof = f"proof: {report.proof}" if report.proof else ""
    warning = f"warning: {report.warning}" if report.warning else ""
    compared = f"{report.spikes_flipped:,} of {report.spikes_compared:,}" if report.spikes_compared else _NONE
    return {
        "name": name,
        "verdict": report.verdict,
        "compared": compared,
        "error": f"{report.output_error_free:.2g}",
        "tolerance": f"{report.output_tolerance:.2g}",
        "top1": agreement,
        "notes": "; ".join([*filter(None, (report.meaning, warning, proof)), *where, *report.notes]),
    }
