"""`neurokit chips [NAME]`: the chips that can be priced, or the card of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next


def chips(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A chip, or the path of a .toml file, for its card.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the chips, or show everything that is known of one and where it is from."""
    from neurokit.hw_sim.chip import chip_card, chip_names, load_chip

    if name is not None:
        card = chip_card(load_chip(name))
        if as_json:
            print_json(card)
            return
        _show_card(card)
        print_next(f"neurokit energy MODEL --chip {name}")
        return
    cards = [chip_card(load_chip(known)) for known in chip_names()]
    if as_json:
        print_json({"chips": cards})
        return
    _show_list(cards)
    print_next("neurokit chips NAME", "neurokit energy MODEL --chip NAME")


def _show_list(cards: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("chip", "title", "nm", "joules", "without a price")
    for card in cards:
        joules = {"none": "refused", "all-in": "all-in"}.get(
            card["pricing"], "lower bound" if card["unpriced"] else "yes"
        )
        missing = "everything" if card["pricing"] == "none" else ", ".join(card["unpriced"]) or "-"
        table.add_row(card["name"], escape(card["title"]), f"{card['node_nm']:g}", joules, missing)
    Console(highlight=False).print(table)


def _show_card(card: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{escape(card['title'])}[/] ({escape(card['maker'])}, {card['node_nm']:g} nm)")
    console.print(escape(card["summary"]))
    sources: dict[str, int] = {}
    for title, rows in (("price", card["prices"]), ("time", card["times"])):
        if rows:
            table = Table(title, "value [interval]", "basis", "scope", "source")
            for term, row in rows.items():
                text = f"{row['source']} {row['note']}".strip()
                number = sources.setdefault(text, len(sources) + 1)
                table.add_row(term, escape(row["text"]), row["basis"], row["scope"], str(number))
            console.print(table)
    for text, number in sources.items():
        console.print(escape(f"({number}) {text}"))
    limits = Table("limit", "value")
    for limit, value in card["limits"].items():
        assumed = " (assumed)" if limit in card["limits_assumed"] else ""
        limits.add_row(limit, escape(f"{value}{assumed}"))
    console.print(limits)
    console.print(escape(f"limits from: {card['limits_source']}"))
    for reference in card["references"]:
        text = f"not a price: {reference['what']}: {reference['value']} ({reference['why_not_a_price']})"
        console.print(escape(text))
    for warning in card["warnings"]:
        console.print(f"[yellow]note[/]: {escape(warning)}")
    if card["unpriced"]:
        console.print(f"without a price: {', '.join(card['unpriced'])}")
