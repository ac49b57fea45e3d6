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
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough", help="All optimisation levels, 1 and 2 threads, batch 1 and 5; exact must be equal."
        ),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify artifacts again from their files alone, with the test vectors inside."""
    from neurokit.artifact import Artifact

    artifacts = [Artifact.load(folder) for folder in folders]
    reports = []
    with stdout_is_for_json(as_json):
        from neurokit import pipeline

        for artifact in artifacts:
            with progress(f"verify {artifact.path}"):
                reports.append(pipeline.verify(artifact, thorough=thorough))
        pairs = []
        if len(artifacts) > 1:
            with progress("compare them with each other"):
                pairs = pipeline.compare(artifacts)
    passed = all(report.passed for report in reports)
    if as_json:
        print_json({"passed": passed, "reports": [report.to_json() for report in reports], "pairs": pairs})
    else:
        from neurokit import render

        for artifact, report in zip(artifacts, reports, strict=True):
            render.show(render.parity(report), *render.reach(artifact.manifest.target_info))
        render.show(render.pairs(pairs))
        if passed:
            print_next(f"in Python: with neurokit.open({str(folders[0])!r}) as runner: y = runner(x)")
        else:
            print_next(f"neurokit verify {folders[0]} --json, and look for layers whose flips exceed their bound")
    raise typer.Exit(0 if passed else 1)
