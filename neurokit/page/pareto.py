"""Two figures of every row against each other, over T, numerics and targets, and what nothing else beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from neurokit.page.metrics import ACCURACY
from neurokit.page.plots import (
    BOTTOM,
    COLOURS,
    LEFT,
    RIGHT,
    SHAPES,
    WIDTH,
    Axis,
    axis,
    label,
    line,
    mark,
    number_below,
    svg,
    words_at,
)
from neurokit.page.row import Row
from neurokit.quantity import Quantity


def looks(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Returns a colour and a shape for each series of rows, the same in all plots."""
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        number = len(found)
        shape = "hollow" if row.simulated else SHAPES[number // len(COLOURS) % len(SHAPES)]
        found.setdefault(row.series, (COLOURS[number % len(COLOURS)], shape))
    return found


def key(look: tuple[str, str]) -> str:
    """Returns the mark of a series, for the legend."""
    colour, shape = look
    drawn = mark(7, 7, shape, colour).replace(' class="mark"', "")
    return f'<svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true" class="key">{drawn}</svg>'


def pareto(
    rows: Sequence[Row],
    across: str,
    up: str,
    titles: Mapping[str, tuple[str, str]],
    look: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """Returns a scatter of two figures with the rows that no other row beats in both joined by a line.

    A series of one network over T has one colour and shape; the number beside a mark is its T.

    Args:
        rows: The rows; those without both figures are left out.
        across: Figure along x, the smaller the better.
        up: Figure along y: the metric of a task, of which the larger or the smaller is better; else the smaller.
        titles: Title and unit of each figure.
        look: What `looks` returned.
    """
    look = look or looks(rows)
    points = [
        (row, row.figures[across], row.figures[up])
        for row in rows
        if across in row.figures and up in row.figures and row.figures[across].value > 0
    ]
    if not points:
        return ""
    metric = next((row.metric for row, *_ in points if row.metric and row.metric.name == up), None)
    is_metric = metric is not None or up == ACCURACY.name
    height, better_up = 300.0, is_metric and not (metric and metric.less_is_better)
    x = axis([q.value for _, q, _ in points], LEFT, WIDTH - RIGHT)
    ends = [end for *_, q in points for end in ((q.low, q.high) if is_metric else (q.value,))]
    y = axis(ends, height - BOTTOM, 16, log=not is_metric)
    body = [*_frame(x, y, titles[across], titles[up], height)]
    front = sorted({(a.value, b.value) for _, a, b in points if not _beaten(a.value, b.value, points, better_up)})
    marks = []
    for row, a, b in points:
        colour, shape = look[row.series]
        px, py = x.at(a.value), y.at(b.value)
        body.append(_whiskers(a.low, a.high, b.low, b.high, x, y, px, py, colour))
        faint = ' opacity=".45"' if row.verdict == "INVALID" else ""
        words = f"<title>{escape(row.name)}{', INVALID' if faint else ''}</title>"
        marks.append(f"<g{faint}>{words}{mark(px, py, shape, colour)}</g>")
        marks.append(words_at(px + 6, py - 5, str(row.time_steps or ""), css="number"))
    body.append(f'<path d="{_steps(front, x, y)}" class="front"/>')
    body += _over_time(points, x, y, look)
    return svg(height, "".join(body + marks), f"{titles[up][0]} against {titles[across][0]}; the line joins the best")


def _over_time(
    points: Sequence[tuple[Row, Quantity, Quantity]], x: Axis, y: Axis, look: Mapping[str, tuple[str, str]]
) -> list[str]:
    """Returns a thin line through each series, from its smallest T to its largest."""
    lines = []
    for name, (colour, _) in look.items():
        own = sorted((row.time_steps or 0, x.at(a.value), y.at(b.value)) for row, a, b in points if row.series == name)
        if len(own) > 1:
            path = " ".join(f"{px:.1f},{py:.1f}" for _, px, py in own)
            lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" class="whisker"/>')
    return lines


def _beaten(a: float, b: float, points: Sequence[tuple[Row, Quantity, Quantity]], better_up: bool) -> bool:
    sign = -1.0 if better_up else 1.0
    others = [(p.value, sign * q.value) for _, p, q in points]
    mine = (a, sign * b)
    return any(o[0] <= mine[0] and o[1] <= mine[1] and o != mine for o in others)


def _steps(front: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    if not front:
        return ""
    path = f"M{x.at(front[0][0]):.1f},{y.at(front[0][1]):.1f}"
    return path + "".join(f" H{x.at(a):.1f} V{y.at(b):.1f}" for a, b in front[1:])


def _frame(x: Axis, y: Axis, across: tuple[str, str], up: tuple[str, str], height: float) -> list[str]:
    body = []
    for tick in x.ticks():
        body += [line(x.at(tick), y.end, x.at(tick), y.start, "grid")]
        body += [number_below(x.at(tick), y.start + 14, label(tick, across[1]))]
    for tick in y.ticks():
        body += [line(x.start, y.at(tick), x.end, y.at(tick), "grid")]
        body += [words_at(x.start - 4, y.at(tick) + 4, label(tick, up[1]), "end", "small")]
    unit = f" ({up[1]})" if up[1] == "%" else ""
    body += [words_at((x.start + x.end) / 2, height - 6, across[0], "middle"), words_at(4, 11, up[0] + unit)]
    return body


def _whiskers(
    x_low: float, x_high: float, y_low: float, y_high: float, x: Axis, y: Axis, px: float, py: float, colour: str
) -> str:
    """Returns the intervals of a point, cut at the frame."""
    lines = []
    if x_low < x_high and x_low > 0:
        ends = [min(max(x.at(value), x.start), x.end) for value in (x_low, x_high)]
        lines.append(_whisker(ends[0], py, ends[1], py, colour))
    if y_low < y_high and (y_low > 0 or not y.log):
        ends = [min(max(y.at(value), y.end), y.start) for value in (y_low, y_high)]
        lines.append(_whisker(px, ends[0], px, ends[1], colour))
    return "".join(lines)


def _whisker(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" class="whisker"/>'
