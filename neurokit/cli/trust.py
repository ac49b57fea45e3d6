"""`neurokit trust`: machine code of an artifact from elsewhere may be loaded here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next


def trust(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Artifacts whose maker's programs you would run.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let the machine code of artifacts from elsewhere run on this machine (targets c, aoti and tensorrt)."""
    from neurokit import pipeline
    from neurokit.artifact import Artifact
    from neurokit.target import TARGETS

    artifacts = [Artifact.load(folder) for folder in folders]
    holds = [TARGETS.get(artifact.manifest.target).info.native for artifact in artifacts]
    for artifact in artifacts:
        pipeline.trust(artifact)
    if as_json:
        rows = zip(folders, holds, strict=True)
        print_json({"artifacts": [{"artifact": str(folder), "machine_code": native} for folder, native in rows]})
        return
    for artifact, native in zip(artifacts, holds, strict=True):
        said = "its machine code runs with your rights from now on" if native else "no machine code, nothing to trust"
        typer.echo(f"{artifact.path}: {said}")
    print_next(["verify", *folders])
