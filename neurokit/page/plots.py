"""Plots as inline SVG: sharp in print, readable without scripts, and small enough for a phone's width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from neurokit import statistics as samples
from neurokit.bench.history import Entry
from neurokit.page.row import Row
from neurokit.quantity import _prefix as prefix_of

WIDTH = 380.0
LEFT, RIGHT, BOTTOM = 60.0, 14.0, 40.0
COLOURS = ("#0b62a4", "#c4451c", "#2a7f3f", "#7a4aa3", "#8a6d00", "#b0307a", "#3b6e75", "#5b5b5b")
_HALF_NUMBER = 22.0  # half the width of a tick's number with its unit
_ONE_PICTURE = 8  # rows of distributions; more are shown in two columns
SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Axis:
    """One axis: how values become places.

    Attributes:
        low: Value at its start.
        high: Value at its end.
        start: Place of `low`.
        end: Place of `high`.
        log: Whether it is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        """Returns the place of a value."""
        scale: Callable[[float], float] = math.log10 if self.log else float
        share = (scale(value) - scale(self.low)) / ((scale(self.high) - scale(self.low)) or 1.0)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Returns round values, three to seven of them."""
        if not self.log:
            step = _round_step((self.high - self.low) / 4)
            first = math.ceil(self.low / step - 1e-9)
            return [round(k * step, 12) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        span = math.log10(self.high / self.low)
        factors = (1,) if span > 2.5 else (1, 2, 5) if span > 0.5 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
        found = [f * 10.0**d for d in decades for f in factors if self.low <= f * 10.0**d <= self.high]
        return found[:: max(1, math.ceil(len(found) / 7))]


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next(factor * size for factor in (1, 2, 5, 10) if factor * size >= step * 0.999)


def axis(values: Sequence[float], start: float, end: float, *, log: bool = True) -> Axis:
    """Returns an axis that holds all values with some air."""
    low, high = min(values), max(values)
    if log and low > 0:
        air = max((high / low) ** 0.08, 1.1)
        return Axis(low / air, high * air, start, end, True)
    air = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - air, high + air, start, end, False)


def label(value: float, unit: str, digits: int = 3) -> str:
    """Returns a value as a short label."""
    if unit == "%":
        return f"{value * 100:.4g}"
    scale, letter = prefix_of(float(f"{value:.{digits}g}"))
    return f"{value / scale:.{digits}g} {letter}{unit}".strip()


def svg(height: float, body: str, title: str) -> str:
    """Returns an SVG picture with a title for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}" class="plot">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def words_at(x: float, y: float, words: str, anchor: str = "start", css: str = "") -> str:
    """Returns words at a place."""
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def number_below(x: float, y: float, words: str) -> str:
    """Returns a tick's number under an axis, which ends with the picture and not behind it."""
    anchor = "end" if x > WIDTH - _HALF_NUMBER else "start" if x < _HALF_NUMBER else "middle"
    return words_at(x, y, words, anchor, "small")


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Returns a straight line in a style of the page."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def distributions(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Returns the latency distribution of each row: density, the middle half, the median, and 5 to 95 %.

    Args:
        rows: Rows with samples.
        names: What each is called.

    Returns:
        One picture, or two of half the height with the same axis.
    """
    known = [(row, name) for row, name in zip(rows, names, strict=True) if len(row.samples_s) > 1]
    if not known:
        return []
    ends = [[samples.percentile(row.samples_s, p)[0] for p in (1, 99)] for row, _ in known]
    x = axis([max(value, 1e-9) for pair in ends for value in pair], 10, WIDTH - 10)
    half = len(known) if len(known) <= _ONE_PICTURE else math.ceil(len(known) / 2)
    return [_strips(known[start : start + half], x, start) for start in range(0, len(known), half)]


def _strips(known: Sequence[tuple[Row, str]], x: Axis, start: int) -> str:
    body, y = [], 12.0
    for number, (row, name) in enumerate(known, start):
        body.append(_distribution(row, name, x, y, COLOURS[number % len(COLOURS)]))
        y += 36
    y -= 4
    grid = [line(x.at(t), 16, x.at(t), y - 10, "grid") + number_below(x.at(t), y + 4, label(t, "s")) for t in x.ticks()]
    return svg(y + 14, "".join(grid + body), "Latency distributions: density, middle half, median, 5 to 95 percent")


def _distribution(row: Row, name: str, x: Axis, y: float, colour: str) -> str:
    p5, p25, p50, p75, p95 = (samples.percentile(row.samples_s, p)[0] for p in (5, 25, 50, 75, 95))
    base = y + 18
    box = max(x.at(p75) - x.at(p25), 1.0)
    return "".join(
        [
            f'<text x="10" y="{y:.1f}" class="small"><tspan class="name">{label(p50, "s")}</tspan> '
            f"{escape(name)}</text>",
            f'<path d="{_density(row.samples_s, x, base, 13)}" fill="{colour}" fill-opacity=".3"/>',
            f'<line x1="{x.at(p5):.1f}" x2="{x.at(p95):.1f}" y1="{base}" y2="{base}" stroke="{colour}"/>',
            f'<rect x="{x.at(p25):.1f}" y="{base - 2}" width="{box:.1f}" height="4" fill="{colour}" class="mark"/>',
            line(x.at(p50), base - 5, x.at(p50), base + 5, "median"),
        ]
    )


def _density(values: Sequence[float], x: Axis, base: float, height: float) -> str:
    """Returns the outline of a histogram with 120 bins over the axis."""
    bins = [0] * 120
    for value in values:
        place = (x.at(max(value, 1e-9)) - x.start) / (x.end - x.start)
        if 0 <= place < 1:
            bins[int(place * len(bins))] += 1
    top, step = max(bins) or 1, (x.end - x.start) / len(bins)
    corners = [
        f"L{x.start + i * step:.1f},{base - height * n / top:.1f} L{x.start + (i + 1) * step:.1f},"
        f"{base - height * n / top:.1f}"
        for i, n in enumerate(bins)
    ]
    return f"M{x.start:.1f},{base:.1f} {' '.join(corners)} L{x.end:.1f},{base:.1f} Z"


def mark(x: float, y: float, shape: str, colour: str) -> str:
    """Returns the mark of one point."""
    paint = f'fill="{colour}" class="mark"'
    if shape == "hollow":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#fff" stroke="{colour}" stroke-width="2" class="mark"/>'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {paint}/>'
    shapes: dict[str, list[tuple[float, float]]] = {
        "square": [(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)],
        "diamond": [(0, -6), (6, 0), (0, 6), (-6, 0)],
        "triangle": [(0, -6), (6, 5), (-6, 5)],
    }
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in shapes[shape])
    return f'<polygon points="{corners}" {paint}/>'


def history_plot(name: str, entries: Sequence[Entry]) -> str:
    """Returns the median over the runs of a history, with its interval; an INVALID run is hollow."""
    if not entries:
        return ""
    height = 200.0
    y = axis([value for e in entries for value in (e.low_s, e.high_s)], height - BOTTOM, 10, log=False)
    x = Axis(-0.5, max(len(entries) - 0.5, 0.5), LEFT, WIDTH - RIGHT, False)
    body = [
        line(x.start, y.at(t), x.end, y.at(t), "grid")
        + words_at(x.start - 4, y.at(t) + 4, label(t, "s", 4), "end", "small")
        for t in y.ticks()
    ]
    places = [(x.at(number), y.at(entry.p50_s)) for number, entry in enumerate(entries)]
    body.append(f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}" class="front"/>')
    for entry, (px, py) in zip(entries, places, strict=True):
        ends = y.at(entry.low_s), y.at(entry.high_s)
        body.append(f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}" stroke="{COLOURS[0]}"/>')
        body.append(mark(px, py, "circle" if entry.verdict == "VALID" else "hollow", COLOURS[0]))
    ends_of_time = [(entries[0], places[0], "start"), (entries[-1], places[-1], "end")]
    for entry, (px, _), anchor in ends_of_time[: len(entries)]:
        body.append(words_at(px, height - 22, entry.time[:10], anchor, "small"))
    body.append(
        words_at((x.start + x.end) / 2, height - 6, f"{len(entries)} runs, median and its 95 % interval", "middle")
    )
    return svg(height, "".join(body), f"History of {name}")
