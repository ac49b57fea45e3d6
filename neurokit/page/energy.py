"""The energy report as one HTML page that needs nothing else: inline drawings, no scripts, readable on a phone."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurokit.atomic import write_text
from neurokit.errors import MissingRuntimeError
from neurokit.quantity import Quantity
from neurokit.reports.energy import ChipReport, EnergyReport

TEMPLATES = Path(__file__).parent / "templates"

COLOURS = {
    "synapse": "#2f6fb2",
    "neuron": "#e08a2e",
    "routing": "#4a9a62",
    "memory": "#8a63a8",
    "static": "#9aa0a6",
    "host": "#5f6368",
}
# Beyond these a drawing says nothing that a reader could see; the JSON has every row.
_MOST_LAYERS, _MOST_STEPS, _MOST_TILES = 60, 200, 4096


@dataclass(frozen=True)
class Drawing:
    """One drawing of the page.

    Attributes:
        title: Heading.
        svg: The drawing.
        note: What is left out, or how to read it.
    """

    title: str
    svg: str
    note: str = ""


def save_html(report: EnergyReport, path: str | Path) -> Path:
    """Writes a report as one HTML page that needs nothing else, whole or not at all."""
    write_text(Path(path), render_html(report))
    return Path(path)


def render_html(report: EnergyReport) -> str:
    """Returns the page.

    Raises:
        MissingRuntimeError: If jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingRuntimeError("jinja2 is not installed", fix="pip install jinja2") from error
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["quantity"] = lambda quantity: quantity.text()
    return environment.get_template("energy.html.j2").render(
        report=report,
        colours=COLOURS,
        comparison=chips_drawing(report),
        rates=rates_drawing(report),
        details=[(chip, chip_drawings(chip)) for chip in report.chips],
        estimators=estimators_drawing(report),
    )


def chips_drawing(report: EnergyReport) -> Drawing:
    """Returns total energies with intervals on a logarithmic axis, one row a chip."""
    rows = [(chip.title, chip.total, _mark(chip)) for chip in report.chips if chip.total is not None]
    refused = [chip.title for chip in report.chips if chip.total is None]
    note = "Bar: interval; dot: best estimate; > lower bound; ( ) the network does not fit on the chip."
    if refused:
        note += f" Without a price, so not drawn: {', '.join(refused)}."
    return Drawing("Energy of one inference on each chip", interval_chart(rows), note)


def estimators_drawing(report: EnergyReport) -> Drawing:
    """Returns the literature's estimates on the same kind of axis."""
    rows = [(estimator.name, estimator.total, "") for estimator in report.estimators]
    note = "Rules from the literature, not chips: they differ by what they count."
    return Drawing("Estimates by the literature's rules", interval_chart(rows), note)


def rates_drawing(report: EnergyReport) -> Drawing:
    """Returns firing rates over layers and time as a map."""
    layers = [layer for layer in report.layers if layer.spikes and layer.role in ("input", "neuron", "relay")]
    shown = layers[:_MOST_LAYERS]
    steps = min(report.time_steps, _MOST_STEPS)
    values = [list(layer.rates[:steps]) for layer in shown]
    note = f"Share of neurons that spike in a step; darkest is {max((max(v) for v in values), default=0):.1%}."
    if len(layers) > len(shown) or report.time_steps > steps:
        note += f" {len(layers)} layers and {report.time_steps} steps in all; the rest is in the JSON."
    labels = [layer.name for layer in shown]
    return Drawing("Firing rate over layers and time", heat_map(values, labels, "time step", "{:.2%}"), note)


def chip_drawings(chip: ChipReport) -> list[Drawing]:
    """Returns the drawings of one chip: energy by layer, core map, links, latency."""
    drawings = []
    if chip.total is not None:
        drawings.append(_layers_drawing(chip))
    drawings.append(_cores_drawing(chip))
    if chip.links:
        drawings.append(_links_drawing(chip))
    if chip.latency is not None:
        drawings.append(_steps_drawing("Time of each step", chip.latency.steps, "s"))
    if chip.steps:
        drawings.append(_steps_drawing("Energy of each step", chip.steps, "J"))
    return drawings


def _mark(chip: ChipReport) -> str:
    mark = ">" if chip.status == "lower-bound" else ""
    return mark if chip.fits else f"({mark})"


def _layers_drawing(chip: ChipReport) -> Drawing:
    rows = [(name, parts) for name, parts in chip.layers.items() if sum(parts.values()) > 0]
    rows = rows[:_MOST_LAYERS]
    note = "Dynamic energy; traffic is booked on the layer that sends it. Static energy belongs to no layer."
    return Drawing("Energy by layer and component", stacked_bars(rows, "J"), note)


def _cores_drawing(chip: ChipReport) -> Drawing:
    tiles: dict[tuple[int, int], tuple[float, list[str]]] = {}
    for index, core in enumerate(chip.core_map):
        load, texts = tiles.get((core.x, core.y), (0.0, []))
        text = f"core {core.core}: {', '.join(core.layers)}; {core.neurons} neurons; {core.events} events"
        text += f"; {_read(chip.core_energy[index], 'J')}" if chip.core_energy else ""
        text += f"; load {core.load:.0%}" if core.load is not None else ""
        tiles[core.x, core.y] = (max(load, core.load or 0.0), [*texts, text])
    if len(tiles) == 1 and len(chip.core_map) > 1:  # no mesh: one square a core
        texts = next(iter(tiles.values()))[1]
        loads = [core.load or 0.0 for core in chip.core_map]
        tiles = {(k % 16, k // 16): (loads[k], [text]) for k, text in enumerate(texts)}
    cells = [(x, y, load, "\n".join(texts)) for (x, y), (load, texts) in tiles.items()][:_MOST_TILES]
    note = "One square a tile (or core); darker is fuller, by the limit that is used most."
    return Drawing("Core map with load", tile_map(cells), note)


def _links_drawing(chip: ChipReport) -> Drawing:
    sums: dict[tuple[int, int], dict[str, int]] = {}
    for link in chip.links:
        sums.setdefault((link.x, link.y), {})[link.way] = link.packets
    busiest = max(link.packets for link in chip.links)
    cells = [
        (x, y, max(ways.values()) / busiest, f"tile {x}, {y}: " + ", ".join(f"{w} {n}" for w, n in ways.items()))
        for (x, y), ways in sums.items()
    ][:_MOST_TILES]
    note = f"Packets over the busiest link that leaves each tile; darkest is {busiest} packets."
    return Drawing("Link heat map", tile_map(cells), note)


def _steps_drawing(title: str, values: Sequence[float], unit: str) -> Drawing:
    shown = list(values[:_MOST_STEPS])
    note = f"{len(values)} steps in all; the rest is in the JSON." if len(values) > len(shown) else ""
    return Drawing(title, columns(shown, unit), note)


def _escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def _short(text: str, most: int = 30) -> str:
    return text if len(text) <= most else f"{text[:12]}…{text[-(most - 13) :]}"


def _read(value: float, unit: str) -> str:
    return Quantity.exact(value, unit, "analytic", "").text()


def _svg(width: float, height: float, body: Iterable[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_escape(label)}" '
        f'style="max-width:{width:g}px;min-width:{min(width, 560):g}px">{"".join(body)}</svg>'
    )


def interval_chart(rows: Sequence[tuple[str, Quantity, str]]) -> str:
    """Returns quantities with intervals on a logarithmic axis, one row each."""
    usable = [row for row in rows if row[1].value > 0]
    if not usable:
        return ""
    unit = usable[0][1].unit
    low = math.floor(math.log10(min(q.low if q.low > 0 else q.value for _, q, _ in usable)))
    high = math.ceil(math.log10(max(q.high for _, q, _ in usable)))
    high = max(high, low + 1)
    left, right, step = 150, 120, 26
    width = 720

    def x(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return left + share * (width - left - right)

    height = step * len(usable) + 30
    body = []
    for power in range(low, high + 1):
        at = x(10.0**power)
        body.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height - 22}" class="grid"/>')
        body.append(f'<text x="{at:.1f}" y="{height - 8}" class="tick">{_escape(_read(10.0**power, unit))}</text>')
    for index, (name, quantity, mark) in enumerate(usable):
        y = index * step + 14
        start, stop, dot = x(quantity.low), x(quantity.high), x(quantity.value)
        body.append(f'<text x="{left - 8}" y="{y + 4}" class="name">{_escape(_short(name, 22))}</text>')
        body.append(f'<rect x="{start:.1f}" y="{y - 5}" width="{max(stop - start, 1):.1f}" height="10" class="band"/>')
        body.append(
            f'<circle cx="{dot:.1f}" cy="{y}" r="4" class="dot"><title>{_escape(quantity.text())}</title></circle>'
        )
        value = _read(quantity.value, unit)
        text = f"({mark.strip('()')}{value})" if mark.startswith("(") else f"{mark}{value}"
        body.append(f'<text x="{width - right + 12}" y="{y + 4}" class="value">{_escape(text)}</text>')
    return _svg(width, height, body, "quantities with intervals on a logarithmic axis")


def stacked_bars(rows: Sequence[tuple[str, dict[str, float]]], unit: str) -> str:
    """Returns one bar a row, in the colours of its components."""
    if not rows:
        return ""
    left, right, step, width = 190, 90, 20, 720
    most = max(sum(parts.values()) for _, parts in rows)
    body = []
    for index, (name, parts) in enumerate(rows):
        y, x = index * step + 3, float(left)
        body.append(f'<text x="{left - 8}" y="{y + 11}" class="name">{_escape(_short(name))}</text>')
        for component, value in parts.items():
            span = value / most * (width - left - right)
            title = f"{name}, {component}: {_read(value, unit)}"
            body.append(
                f'<rect x="{x:.1f}" y="{y}" width="{span:.2f}" height="14" fill="{COLOURS[component]}">'
                f"<title>{_escape(title)}</title></rect>"
            )
            x += span
        body.append(
            f'<text x="{x + 5:.1f}" y="{y + 11}" class="value">{_escape(_read(sum(parts.values()), unit))}</text>'
        )
    return _svg(width, step * len(rows) + 6, body, "energy by layer and component")


def heat_map(values: Sequence[Sequence[float]], labels: Sequence[str], below: str, form: str) -> str:
    """Returns a map of rows over columns; darker is more."""
    if not values or not values[0]:
        return ""
    left, width, step = 190, 720, 16
    most = max(max(row) for row in values) or 1.0
    wide = (width - left - 10) / len(values[0])
    body = []
    for index, (row, label) in enumerate(zip(values, labels, strict=True)):
        y = index * step
        body.append(f'<text x="{left - 8}" y="{y + 12}" class="name">{_escape(_short(label))}</text>')
        for column, value in enumerate(row):
            title = f"{label}, {below} {column + 1}: {form.format(value)}"
            body.append(
                f'<rect x="{left + column * wide:.2f}" y="{y}" width="{wide:.2f}" height="{step - 1}" '
                f'fill="{_shade(value / most)}"><title>{_escape(title)}</title></rect>'
            )
    body.append(f'<text x="{left}" y="{len(values) * step + 14}" class="tick start">{_escape(below)} 1</text>')
    body.append(f'<text x="{width - 10}" y="{len(values) * step + 14}" class="tick end">{len(values[0])}</text>')
    return _svg(width, len(values) * step + 20, body, "map over layers and time")


def tile_map(cells: Sequence[tuple[int, int, float, str]]) -> str:
    """Returns squares at mesh positions; darker is more (0 to 1), larger y further up."""
    if not cells:
        return ""
    columns_, rows = max(cell[0] for cell in cells) + 1, max(cell[1] for cell in cells) + 1
    size = max(6.0, min(34.0, 700 / columns_))
    body = []
    for x, y, share, title in cells:
        body.append(
            f'<rect x="{x * size:.1f}" y="{(rows - 1 - y) * size:.1f}" width="{size - 1:.1f}" height="{size - 1:.1f}" '
            f'fill="{_shade(share)}" stroke="#8899aa" stroke-width="0.5"><title>{_escape(title)}</title></rect>'
        )
    return _svg(columns_ * size + 1, rows * size + 1, body, "tiles on the mesh")


def columns(values: Sequence[float], unit: str) -> str:
    """Returns one column a value, from zero, with the largest value written at the top."""
    if not values or max(values) <= 0:
        return ""
    width, height, left = 720, 150, 90
    wide = (width - left - 10) / len(values)
    most = max(values)
    body = [
        f'<text x="{left - 8}" y="18" class="name">{_escape(_read(most, unit))}</text>',
        f'<text x="{left - 8}" y="{height - 20}" class="name">0</text>',
        f'<line x1="{left}" x2="{width - 10}" y1="14" y2="14" class="grid"/>',
    ]
    for index, value in enumerate(values):
        tall = value / most * (height - 38)
        body.append(
            f'<rect x="{left + index * wide + wide * 0.05:.2f}" y="{height - 24 - tall:.2f}" width="{wide * 0.9:.2f}" '
            f'height="{tall:.2f}" class="column"><title>step {index + 1}: {_escape(_read(value, unit))}</title></rect>'
        )
    body.append(f'<text x="{left}" y="{height - 6}" class="tick start">time step 1</text>')
    body.append(f'<text x="{width - 10}" y="{height - 6}" class="tick end">{len(values)}</text>')
    return _svg(width, height, body, "value of each time step")


def _shade(share: float) -> str:
    """Returns a colour from nearly white to dark blue."""
    share = min(max(share, 0.0), 1.0) ** 0.7
    low, high = (238, 243, 248), (16, 58, 110)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))
