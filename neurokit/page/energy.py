"""The energy report as one HTML page that needs nothing else: inline drawings, readable on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurokit.atomic import write_text
from neurokit.errors import MissingRuntimeError
from neurokit.page.charts import COMPONENT_COLOURS, columns, heat_map, interval_chart, stacked_bars, tile_map
from neurokit.page.downloads import Download, drawing_link, file_name, table_links
from neurokit.page.plots import label
from neurokit.reports.energy import ChipReport, EnergyReport

TEMPLATES = Path(__file__).parent / "templates"

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

    @property
    def link(self) -> str:
        """A link that holds the drawing as a file."""
        return drawing_link(self.svg)


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
    environment.filters["amount"] = lambda joules: label(joules, "J", 4)
    return environment.get_template("energy.html.j2").render(
        report=report,
        file=lambda *parts: file_name(report.network, *parts),
        tables=[*_chips_table(report), *_layers_table(report)],
        colours=COMPONENT_COLOURS,
        comparison=chips_drawing(report),
        rates=rates_drawing(report),
        details=[(chip, chip_drawings(chip), power(chip)) for chip in report.chips],
        estimators=estimators_drawing(report),
    )


def _chips_table(report: EnergyReport) -> list[Download]:
    """Returns the table of chips: joules and seconds with their intervals, over all samples where there are several."""
    heads = [
        "chip",
        "energy (J)",
        "low",
        "high",
        "standard deviation (J)",
        "samples",
        "latency (s)",
        "chips",
        "cores",
        "fits",
    ]
    rows, shown = [], []
    for chip in report.chips:
        total, over = report.total_of(chip), report.spread.get(chip.chip)
        ends = ["", "", ""] if total is None else [repr(total.value), repr(total.low), repr(total.high)]
        seconds = "" if chip.latency is None else repr(chip.latency.inference.value)
        rest = [str(report.samples), seconds, str(chip.chips), str(chip.cores), "yes" if chip.fits else "no"]
        rows.append([chip.title, *ends, "" if over is None else repr(over.deviation), *rest])
        deviation = "-" if over is None else label(over.deviation, "J", 3)
        amounts = ["-"] * 3 if total is None else [label(v, "J", 3) for v in (total.value, total.low, total.high)]
        latency = "-" if chip.latency is None else label(chip.latency.inference.value, "s", 3)
        shown.append([chip.title, *amounts, deviation, rest[0], latency, *rest[2:]])
    return table_links("chips", file_name(report.network, "chips"), heads, rows, shown) if rows else []


def _layers_table(report: EnergyReport) -> list[Download]:
    """Returns the table of layers that papers print: synaptic operations, those with a multiplication, and rates."""
    heads = [
        "layer",
        "role",
        "neurons",
        "spikes",
        "rate",
        "synaptic operations (ACs)",
        "of these with a product (MACs)",
    ]
    rows = []
    for layer in report.layers:
        spikes, graded = sum(layer.spikes), sum(layer.graded_events)
        rate = spikes / (layer.size * max(1, len(layer.spikes))) if layer.spikes else 0.0
        operations = [str(sum(layer.synaptic_events)), str(graded)]
        rows.append([layer.name, layer.role, str(layer.size), str(spikes), f"{rate:.4g}", *operations])
    return table_links("layers", file_name(report.network, "layers"), heads, rows) if rows else []


def chips_drawing(report: EnergyReport) -> Drawing:
    """Returns total energies with intervals on a logarithmic axis, one row a chip."""
    totals = [(chip, report.total_of(chip)) for chip in report.chips]
    rows = [(chip.title, total, _mark(chip)) for chip, total in totals if total is not None]
    refused = [chip.title for chip in report.chips if chip.total is None]
    note = "Bar: interval; dot: best estimate; > lower bound; ( ) the network does not fit on the chip."
    if refused:
        note += f" Without a price, so not drawn: {', '.join(refused)}."
    return Drawing("Energy of one inference on each chip", interval_chart(rows), note)


def estimators_drawing(report: EnergyReport) -> Drawing:
    """Returns the literature's estimates on the same kind of axis."""
    rows = [(estimator.name, estimator.total, ">" if estimator.at_least else "") for estimator in report.estimators]
    note = "Rules from the literature, not chips: they differ by what they count."
    return Drawing("Estimates by the literature's rules", interval_chart(rows), note)


def rates_drawing(report: EnergyReport) -> Drawing:
    """Returns firing rates over layers and time as a map."""
    layers = [layer for layer in report.layers if layer.spikes and layer.role in ("input", "neuron", "relay")]
    shown = layers[:_MOST_LAYERS]
    steps = min(report.time_steps, _MOST_STEPS)
    values = [list(layer.rates[:steps]) for layer in shown]
    fire = [max(row) for row, layer in zip(values, shown, strict=True) if layer.role != "input"]
    most = max(fire, default=0.0) or max((max(row) for row in values), default=0.0)  # an image would outshine all
    note = f"Share of neurons that spike in a step; darkest is {most:.1%} or more."
    if len(layers) > len(shown) or report.time_steps > steps:
        note += f" {len(layers)} layers and {report.time_steps} steps in all; the rest is in the JSON."
    labels = [layer.name for layer in shown]
    return Drawing("Firing rate over layers and time", heat_map(values, labels, "time step", "{:.2%}", most), note)


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
    rows += [
        (f"{name}: of no layer", {name: chip.components[name].value})
        for name in ("static", "host")
        if name in chip.components and chip.components[name].value > 0
    ]
    note = "Traffic is booked on the layer that sends it, that of the input on the input."
    missing = [text.partition(":")[0] for text in chip.unpriced]
    note += f" Used and not priced, so not drawn: {', '.join(dict.fromkeys(missing))}." if missing else ""
    return Drawing("Energy by layer and component", stacked_bars(rows, "J"), note)


def power(chip: ChipReport) -> str:
    """Returns the power at the rate at which one inference follows the other, in words."""
    if chip.total is None:
        return ""
    least = "at least " if chip.status == "lower-bound" else ""
    if chip.latency is None or chip.latency.inference.value <= 0:
        return "Latency: not published, so neither is the power at which it runs."
    seconds = chip.latency.inference.value
    watts, rate = chip.total.value / seconds, 1.0 / seconds
    dynamic = chip.total.value - sum(chip.components[n].value for n in ("static", "host") if n in chip.components)
    return (
        f"Power: {least}{label(watts, 'W')} at {rate:.3g} inferences a second (one after the other); what the events "
        f"themselves take is {label(dynamic / seconds, 'W')} of it."
    )


def _cores_drawing(chip: ChipReport) -> Drawing:
    tiles: dict[tuple[int, int], tuple[float, list[str]]] = {}
    for index, core in enumerate(chip.core_map):
        load, texts = tiles.get((core.x, core.y), (0.0, []))
        text = f"core {core.core}: {', '.join(core.layers)}; {core.neurons} neurons; {core.events} events"
        text += f"; {label(chip.core_energy[index], 'J')}" if chip.core_energy else ""
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
