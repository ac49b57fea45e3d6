"""The energy report and the chips' cards for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape

from neurokit.render.tables import plain_table

if TYPE_CHECKING:
    from neurokit.reports.energy import ChipReport, EnergyReport

_SHOWN_VIOLATIONS = 5


def energy(report: EnergyReport) -> RenderableType:
    """Returns what each chip costs, what the total is made of and lacks, the estimators and the comparison."""
    remarks = [line for chip in report.chips for line in _remarks(chip)]
    verdict = [escape(report.verdict.text)] if report.verdict is not None else []
    checked = [escape(report.event_check.text)] if report.event_check is not None else []
    small = [*report.assumptions, *(f"not counted: {part}" for part in report.uncounted)]
    chips = _totals(report) if report.chips else ()
    unsound = [f"[red]warning: {escape(line)}; there is no verdict[/]" for line in report.unsound]
    blocks = (
        unsound,
        *chips,
        remarks,
        _comparators(report),
        _estimators(report),
        [*verdict, *map(escape, report.comparison)],
        checked,
        [f"[dim]{escape(line)}[/]" for line in small],
        unsound,  # first and last: what scrolls by is read at its end
    )
    return _spaced(blocks)


def _spaced(blocks: Iterable[Sequence[RenderableType]]) -> RenderableType:
    """Returns the blocks that are not empty, with an empty line between them."""
    parts: list[RenderableType] = []
    for block in blocks:
        if block:
            parts += [*([""] if parts else []), *block]
    return Group(*parts)


def _totals(report: EnergyReport) -> tuple[list[RenderableType], list[RenderableType]]:
    totals = plain_table("chip", "energy of one inference", "latency", "chips x cores", "fits")
    parts = plain_table("of which", "synapse", "neuron", "routing", "memory", "static", "host")
    for chip in report.chips:
        latency = chip.latency.inference.text() if chip.latency else "not published"
        fits = "yes" if chip.fits else f"no ({len(chip.violations)} limits)"
        cells = (chip.title, report.headline(chip), latency, f"{chip.chips} x {chip.cores}", fits)
        totals.add_row(*map(escape, cells))
        shown = [_short(chip, str(column.header)) for column in parts.columns[1:]]
        if set(shown) != {"-"}:
            parts.add_row(escape(chip.title), *shown)
    return [totals], [parts] if parts.row_count else []


def _short(chip: ChipReport, component: str) -> str:
    found = chip.components.get(component)
    return escape(found.text().split(" [")[0]) if found else "-"


def _remarks(chip: ChipReport) -> list[str]:
    broken = [f"[red]does not fit[/] {escape(f'{chip.title}: {line}')}" for line in chip.violations[:_SHOWN_VIOLATIONS]]
    return broken + [f"[yellow]not priced[/] {escape(f'{chip.title}: {line}')}" for line in chip.unpriced]


def _estimators(report: EnergyReport) -> list[RenderableType]:
    if not report.estimators:
        return []
    table = plain_table("estimator", "energy", "what it is")
    for rule in report.estimators:
        table.add_row(escape(rule.name), escape(rule.headline()), escape(rule.title))
    return [table]


def _comparators(report: EnergyReport) -> list[RenderableType]:
    if not report.comparators:
        return []
    table = plain_table("without spikes, on", "energy", "how it is known")
    for device in report.comparators:
        table.add_row(escape(device.title), escape(device.headline()), escape(device.note))
    return [table]


def chip_list(cards: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Returns one row a chip: what it is, and whether its energy can be told."""
    table = plain_table("chip", "title", "nm", "joules", "without a price")
    for card in cards:
        told = "lower bound" if card["unpriced"] else "yes"
        joules = {"none": "refused", "all-in": "all-in"}.get(card["pricing"], told)
        missing = "everything" if card["pricing"] == "none" else ", ".join(card["unpriced"]) or "-"
        table.add_row(card["name"], escape(card["title"]), _node(card), joules, missing)
    return table


def _node(card: Mapping[str, Any]) -> str:
    """Returns the process node as text; "?" where no source that was read states it."""
    return f"{card['node_nm']:g}" if card["node_nm"] else "?"


def chip_card(card: Mapping[str, Any]) -> RenderableType:
    """Returns everything that is known of one chip; sources are numbered under the tables."""
    sources: dict[str, int] = {}
    priced = [
        _constants(title, card[key], sources) for title, key in (("price", "prices"), ("time", "times")) if card[key]
    ]
    limits = plain_table("limit", "value")
    for limit, value in card["limits"].items():
        limits.add_row(limit, escape(f"{value}{' (assumed)' if limit in card['limits_assumed'] else ''}"))
    references = [f"not a price: {r['what']}: {r['value']} ({r['why_not_a_price']})" for r in card["references"]]
    made = escape(f"({card['maker']}, {_node(card)} nm)" if card["node_nm"] else f"({card['maker']})")
    head = [f"[bold]{escape(card['title'])}[/] {made}", escape(card["summary"])]
    numbered = [escape(f"({number}) {text}") for text, number in sources.items()]
    notes = [*map(escape, references), *(f"[yellow]note[/]: {escape(warning)}" for warning in card["warnings"])]
    notes += [escape(line) for line in _conditions(card)]
    unpriced = [f"without a price: {', '.join(card['unpriced'])}"] if card["unpriced"] else []
    limits_source = escape(f"limits from: {card['limits_source']}")
    return _spaced((head, *([table] for table in priced), numbered, [limits, limits_source], notes + unpriced))


def _conditions(card: Mapping[str, Any]) -> list[str]:
    """Returns the supply that the prices hold at with its law, and the error of the model that they belong to."""
    lines, supply = [], card["supply"]
    if supply:
        span = f"{supply['low']:g} to {supply['high']:g} V" if supply["low"] != supply["high"] else "no other was read"
        law = f"static power by V^{supply['static_exponent']:g} ({supply['static_source']})"
        lines.append(f"supply: {supply['volts']:g} V ({span}): {supply['source']}; events by V^2, {law}")
    if card["energy_error"] or card["time_error"]:
        shares = f"energy {card['energy_error']:.0%}, time {card['time_error']:.0%}"
        lines.append(f"error of the model, in every interval: {shares}: {card['error_source']}")
    if card["lower_bound"]:
        lines.append(f"every total is a bound; not in it: {card['lower_bound']}")
    return lines


def _constants(title: str, rows: Mapping[str, Any], sources: dict[str, int]) -> RenderableType:
    table = plain_table(title, "value [interval]", "basis", "scope", "source")
    for term, row in rows.items():
        text = ". ".join(part.rstrip(".") for part in (row["source"], row["note"]) if part)
        number = sources.setdefault(text, len(sources) + 1)
        table.add_row(term, escape(row["text"]), row["basis"], row["scope"], str(number))
    return table
