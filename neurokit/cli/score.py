"""`neurokit score`: ranks texts by how much masked heads hurt their prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, progress, stdout_is_for_json
from neurokit.cli.outputs import Force, check_outputs


def score(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help='Texts, one a line: {"ids": [5, 7], "id": "a"}.')],
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL|DIR", help="A language model, or an artifact of head_mask.")
    ],
    heads: Annotated[Path, typer.Option("--heads", help="TOML file of the heads to mask (neurokit heads).")],
    out: Annotated[
        Path | None, typer.Option("--out", help="JSONL file for the scores; default standard output.")
    ] = None,
    selected: Annotated[float, typer.Option("--selected", help="Share of each domain that is selected.")] = 0.2,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", help="Tokens of a batch, padding counted.")] = 8192,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score texts by AttentionInfluence: how much larger their loss is with heads masked."""
    if out is not None:
        check_outputs(out, force=force)
    with stdout_is_for_json(as_json):
        from neurokit.atomic import write_text
        from neurokit.attention.scopes import read_heads
        from neurokit.heads.influence import score_file

        chosen = read_heads(heads)
        with progress(f"score {file}"):
            rows = [
                one.to_json() for one in score_file(model, file, chosen, selected=selected, batch_tokens=batch_tokens)
            ]
        lines = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        if out is not None:
            write_text(out, lines)
    if as_json:
        print_json({"file": str(file), "model": model, "documents": rows})
    elif out is None:
        typer.echo(lines, nl=False)
    else:
        typer.echo(f"{sum(row['selected'] for row in rows)} of {len(rows):,} texts are selected")
        typer.echo(f"scores are in {out}")
