"""`neurokit sweep STUDY.toml`: models, T, bits, thresholds, targets, chips and mappings, towards several objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_page, samples_done, stdout_is_for_json


def sweep(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="The study, a .toml file (docs/sweeps.md).")],
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of workers, in the place of the study's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for everything; default build/sweep-NAME; it is gone on with.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be tried and stop.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the trials of STUDY on workers, keep every result, and write a table and a page with the front."""
    with stdout_is_for_json(as_json):
        from neurokit.sweep.api import sweep as run
        from neurokit.sweep.study import read_study

        found = read_study(study)
        choices, grid = found.choices(), found.combinations()
        trials = grid if found.search.sampler == "grid" else found.search.trials
        if not as_json:
            for name, values in choices.items():
                typer.echo(f"{name}: {', '.join(map(str, values))}")
            typer.echo(f"{trials} trials of {grid} combinations ({found.search.sampler}), {found.search.batch} a batch")
        if not dry_run:
            with samples_done(f"trials of {found.name}") as tell:
                swept = run(found, out, workers=workers, progress=tell)
    if dry_run:
        if as_json:
            print_json({"study": found.name, "choices": choices, "trials": trials, "combinations": grid})
        return
    if as_json:
        print_json(swept.to_json())
    else:
        for row in swept.rows:
            if row["trial"] in swept.front:
                figures = ", ".join(f"{name} {row[name]:.4g}" for name in found.objectives)
                said = ", ".join(f"{name} {row[name]}" for name, values in choices.items() if len(values) > 1)
                typer.echo(f"front: #{row['trial']} {said}: {figures}")
        failed = [row for row in swept.rows if row["status"] == "failed"]
        for row in failed[:3]:
            typer.echo(f"failed: #{row['trial']}: {row['reason']}")
        print_page(swept.page)
    raise typer.Exit(0 if swept.front else 1)
