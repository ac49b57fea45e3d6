"""`neurokit walls`: solves Only Connect walls with an exported encoder, and scores predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import MOST_SEED, Debug, Json, print_json, progress, stdout_is_for_json
from neurokit.cli.outputs import Force, check_outputs
from neurokit.errors import InputError


def walls(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE.json]", help="Walls in the published JSON (train.json ...).")
    ] = None,
    encoder: Annotated[Path | None, typer.Option("--encoder", metavar="DIR", help="Exported sentence encoder.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option("--embeddings", help=".npz with words and vectors, from any encoder.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Score these, in the published form, in the place of solving.")
    ] = None,
    planted: Annotated[int | None, typer.Option("--planted", help="Draw so many walls in the place of a file.")] = None,
    herrings: Annotated[int, typer.Option("--herrings", help="Red herrings of a drawn wall, 0 to 16.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of drawn walls.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Predictions, in the published form.")] = None,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Group the sixteen clues of each wall into four groups of four, and say how right groups or their names are."""
    given = [way for way in (encoder, embeddings, predictions) if way is not None]
    if planted is not None and planted < 1:
        raise InputError(f"{planted} planted walls", expected="1 or more")
    if len(given) != 1 or (file is None) == (planted is None):
        raise InputError(
            "what to solve, or how, is not said once",
            expected="FILE.json or --planted N, and one of --encoder, --embeddings, --predictions",
            fix="neurokit walls --planted 100 --encoder build/encoder",
        )
    if out is not None:
        check_outputs(out, force=force)
    with stdout_is_for_json(as_json):
        from neurokit.atomic import write_text
        from neurokit.walls.encoder import exported_encoder, vectors_from
        from neurokit.walls.files import predictions_json, read_predictions, read_walls
        from neurokit.walls.metrics import score_walls
        from neurokit.walls.naming import name_walls
        from neurokit.walls.planted import planted_walls
        from neurokit.walls.solve import solve

        there = read_walls(file) if file is not None else planted_walls(planted or 0, herrings, seed)
        with progress(f"{len(there):,} walls"):
            if predictions is not None:
                found = read_predictions(predictions)
            else:
                found = solve(there, exported_encoder(encoder) if encoder is not None else vectors_from(given[0]))
        if out is not None:
            write_text(out, predictions_json(found))
        known, grouped = all(wall.groups for wall in there), any(one.groups for one in found)
        total, rows = score_walls(there, found) if known and grouped else (None, [])
        naming, names = name_walls(there, found) if any(one.connections for one in found) else (None, [])
    if as_json:
        from dataclasses import asdict

        groups = {one.name: one.groups for one in found}
        scored = [{**asdict(row), "groups": groups[row.wall]} for row in rows]
        said = {"score": None if total is None else total.to_json(), "walls": scored}
        named = {} if naming is None else {"naming": naming.to_json(), "names": [asdict(row) for row in names]}
        print_json(said | named)
        return
    if naming is not None:
        typer.echo(
            f"connections of {naming.walls:,} walls: exact match {naming.exact_match:.4f}, ROUGE-1 {naming.rouge1:.4f}"
        )
    if total is None:
        if naming is None:
            typer.echo(predictions_json(found), nl=False)
        return
    typer.echo(
        f"{total.solved} of {total.walls:,} walls solved, {total.correct_groups} of {4 * total.walls:,} groups right"
    )
    typer.echo(
        f"Wasserstein {total.wasserstein:.4f} (published form), {total.wasserstein_matched:.4f} (best matched)  "
        f"AMI {total.ami:.4f}  ARI {total.ari:.4f}  FMS {total.fms:.4f}"
    )
    if out is not None:
        typer.echo(f"answers are in {out}")
