"""`neurokit report`: everything that is known of some models and targets, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_page
from neurokit.cli.outputs import Force, check_outputs


def report(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR|FILE...", help="Artifacts; JSON of bench, energy, verify and accuracies; a history (.jsonl)."
        ),
    ],
    html: Annotated[Path, typer.Option("--html", help="Page to write; one file that needs nothing else.")],
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put accuracy, parity, latency, memory, size and energy of every target on one page."""
    from neurokit.page.build import build

    check_outputs(html, force=force)
    content = build(places, html)
    if as_json:
        rows = [
            {
                "name": row.name,
                "verdict": row.verdict,
                "parity": row.parity,
                "remarks": list(row.remarks),
                "figures": {key: quantity.to_json() for key, quantity in row.figures.items()},
            }
            for row in content.rows
        ]
        print_json({"html": str(html), "rows": rows, "failures": content.failures})
    else:
        print_page(html, f" ({len(content.rows)} rows)")
