"""Charts of the energy page, as wide as a phone; values are written beside what they measure: no pointer needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from neurokit.page.plots import WIDTH, Axis, label, line, svg, words_at
from neurokit.quantity import Quantity

COMPONENT_COLOURS = {
    "synapse": "#2f6fb2",
    "neuron": "#e08a2e",
    "routing": "#4a9a62",
    "memory": "#8a63a8",
    "static": "#9aa0a6",
    "host": "#5f6368",
}
_ROW = 34  # a line of words, and what they are about below


def interval_chart(rows: Sequence[tuple[str, Quantity, str]]) -> str:
    """Returns quantities with intervals on a logarithmic axis.

    Args:
        rows: Name, quantity, and a mark: ">" for a lower bound, in parentheses where the network does not fit.
    """
    usable = [row for row in rows if row[1].value > 0]
    if not usable:
        return ""
    unit = usable[0][1].unit
    low = math.floor(math.log10(min(q.low if q.low > 0 else q.value for _, q, _ in usable)))
    high = max(math.ceil(math.log10(max(q.high for _, q, _ in usable))), low + 1)
    x = Axis(10.0**low, 10.0**high, 10, WIDTH - 10, True)
    bottom = _ROW * len(usable) + 6.0
    every = math.ceil((high - low) / 5)
    body = []
    for power in range(low, high + 1, every):
        at = x.at(10.0**power)
        anchor = "start" if power == low else "end" if at > WIDTH - 30 else "middle"
        body += [line(at, 0, at, bottom, "grid"), words_at(at, bottom + 14, label(10.0**power, unit), anchor, "small")]
    for index, (name, quantity, mark) in enumerate(usable):
        y = _ROW * index + 12.0
        start, stop, dot = (x.at(max(v, x.low)) for v in (quantity.low, quantity.high, quantity.value))
        value = label(quantity.value, unit)
        text = f"({mark.strip('()')}{value})" if mark.startswith("(") else f"{mark}{value}"
        body.append(words_at(10, y, _short(name, 38)) + words_at(WIDTH - 10, y, text, "end", "value"))
        body.append(
            f'<rect x="{start:.1f}" y="{y + 5:.1f}" width="{max(stop - start, 1):.1f}" height="10" class="band"/>'
            f'<circle cx="{dot:.1f}" cy="{y + 10:.1f}" r="4" class="dot">'
            f"<title>{escape(quantity.text())}</title></circle>"
        )
    return svg(bottom + 20, "".join(body), "Quantities with intervals on a logarithmic axis")


def stacked_bars(rows: Sequence[tuple[str, Mapping[str, float]]], unit: str) -> str:
    """Returns one bar a row, in the colours of its components, with its sum."""
    if not rows:
        return ""
    most = max(sum(parts.values()) for _, parts in rows) or 1.0
    body = []
    for index, (name, parts) in enumerate(rows):
        y, x = _ROW * index + 12.0, 10.0
        total = label(sum(parts.values()), unit)
        body.append(words_at(10, y, _short(name, 44)) + words_at(WIDTH - 10, y, total, "end", "value"))
        for component, value in parts.items():
            span = value / most * (WIDTH - 20)
            title = escape(f"{name}, {component}: {label(value, unit)}")
            body.append(
                f'<rect x="{x:.2f}" y="{y + 5:.1f}" width="{span:.2f}" height="12" '
                f'fill="{COMPONENT_COLOURS[component]}"><title>{title}</title></rect>'
            )
            x += span
    return svg(_ROW * len(rows) + 4.0, "".join(body), "Energy by layer and component")


def heat_map(
    values: Sequence[Sequence[float]], labels: Sequence[str], below: str, form: str, most: float | None = None
) -> str:
    """Returns a map of rows over columns; darker is more, and each row's mean is written beside its name.

    Args:
        values: One row each.
        labels: Name of each row.
        below: What the columns are.
        form: How a value is written.
        most: The value of the darkest shade; larger ones are no darker. Default is the largest.
    """
    if not values or not values[0]:
        return ""
    top = most or max(max(row) for row in values) or 1.0
    wide = (WIDTH - 20) / len(values[0])
    body = []
    for index, (row, name) in enumerate(zip(values, labels, strict=True)):
        y = _ROW * index + 12.0
        mean = form.format(sum(row) / len(row))
        body.append(words_at(10, y, _short(name, 40)) + words_at(WIDTH - 10, y, f"mean {mean}", "end", "value"))
        for column, value in enumerate(row):
            title = escape(f"{name}, {below} {column + 1}: {form.format(value)}")
            body.append(
                f'<rect x="{10 + column * wide:.2f}" y="{y + 5:.1f}" width="{wide:.2f}" height="13" '
                f'fill="{_shade(value / top)}"><title>{title}</title></rect>'
            )
    bottom = _ROW * len(values) + 14.0
    body.append(words_at(10, bottom, f"{below} 1", css="small"))
    body.append(words_at(WIDTH - 10, bottom, str(len(values[0])), "end", "small"))
    return svg(bottom + 6, "".join(body), "Map over layers and time")


def tile_map(cells: Sequence[tuple[int, int, float, str]]) -> str:
    """Returns squares at mesh positions; darker is more (0 to 1), larger y further up."""
    if not cells:
        return ""
    across, rows = max(cell[0] for cell in cells) + 1, max(cell[1] for cell in cells) + 1
    size = max(3.0, min(34.0, (WIDTH - 2) / across))
    body = [
        f'<rect x="{x * size:.1f}" y="{(rows - 1 - y) * size:.1f}" width="{size - 1:.1f}" height="{size - 1:.1f}" '
        f'fill="{_shade(share)}" stroke="#8899aa" stroke-width="0.5"><title>{escape(title)}</title></rect>'
        for x, y, share, title in cells
    ]
    return svg(rows * size + 1, "".join(body), "Tiles on the mesh")


def columns(values: Sequence[float], unit: str) -> str:
    """Returns one column a value, from zero, with the largest value written at the top."""
    if not values or max(values) <= 0:
        return ""
    height, left, most = 140.0, 70.0, max(values)
    wide = (WIDTH - left - 10) / len(values)
    body = [
        words_at(left - 8, 18, label(most, unit), "end"),
        words_at(left - 8, height - 20, "0", "end"),
        line(left, 14, WIDTH - 10, 14, "grid"),
    ]
    for index, value in enumerate(values):
        tall = value / most * (height - 38)
        title = escape(f"step {index + 1}: {label(value, unit)}")
        body.append(
            f'<rect x="{left + index * wide + wide * 0.05:.2f}" y="{height - 24 - tall:.2f}" '
            f'width="{wide * 0.9:.2f}" height="{tall:.2f}" class="column"><title>{title}</title></rect>'
        )
    body.append(words_at(left, height - 6, "time step 1", css="small"))
    body.append(words_at(WIDTH - 10, height - 6, str(len(values)), "end", "small"))
    return svg(height, "".join(body), "Value of each time step")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:12]}…{text[-(most - 13) :]}"


def _shade(share: float) -> str:
    """Returns a colour from nearly white to dark blue."""
    share = min(max(share, 0.0), 1.0) ** 0.7
    low, high = (238, 243, 248), (16, 58, 110)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))
