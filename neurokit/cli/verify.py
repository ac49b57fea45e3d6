"""`neurokit verify`: does the folder still compute what its source computed?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next, progress, stdout_is_for_json


def verify(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Artifacts; several forms of one model are also compared.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify artifacts again from their files alone, with the test vectors inside."""
    from neurokit.artifact import Artifact

    artifacts = [Artifact.load(folder) for folder in folders]
    with stdout_is_for_json(as_json), progress("verify " + ", ".join(str(folder) for folder in folders)):
        from neurokit import pipeline

        report = pipeline.verify(artifacts[0] if len(artifacts) == 1 else artifacts)
    if as_json:
        print_json(report.to_json())
    else:
        from neurokit import render

        render.show(render.parity(report))
        if not report.passed:
            print_next("neurokit verify DIR --json, and look at the first layer whose flips are not explained")
        else:
            print_next("run it: with neurokit.open(DIR) as runner: y = runner(x)")
    raise typer.Exit(0 if report.passed else 1)
