"""`neurokit verify`: does the folder still compute what its source computed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next, progress, stdout_is_for_json
from neurokit.cli._data import DATA_HELP, check_place

if TYPE_CHECKING:
    from neurokit.artifact import Artifact


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
    data: Annotated[Path | None, typer.Option("--data", help=f"{DATA_HELP} The task's metric as well.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify artifacts again from their files alone, with the test vectors inside."""
    from neurokit.artifact import Artifact

    check_place(data, "--data")
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
        said = {} if data is None else {str(a.path): _scores(a, data) for a in artifacts}
    passed = all(report.passed for report in reports)
    if as_json:
        print_json(
            {"passed": passed, "reports": [report.to_json() for report in reports], "pairs": pairs, "scores": said}
        )
    else:
        from neurokit import render
        from neurokit.tasks.scoring import metric_of

        for report in reports:
            render.show(render.parity(report))
        render.show(render.pairs(pairs))
        for path, scores in said.items():
            typer.echo(f"{path}: {metric_of(scores)} of {scores['samples']} samples of {scores['data']}")
        if passed:
            typer.echo(f"in Python: with neurokit.open({str(folders[0])!r}) as runner: {_how_to_call(artifacts[0])}")
        else:
            failed = next(path for path, report in zip(folders, reports, strict=True) if not report.passed)
            print_next(["verify", failed, "--json"])  # lists the layers whose flips exceed their bound
    raise typer.Exit(0 if passed else 1)


def _scores(artifact: Artifact, place: Path) -> dict[str, Any]:
    """Returns the metrics of an artifact's task on labelled data."""
    from neurokit.bench.data import labelled_for
    from neurokit.bench.subjects import score

    with progress(f"score {artifact.path} on {place}"):
        return score(artifact, labelled_for(artifact, place))


def _how_to_call(artifact: Artifact) -> str:
    """Returns the line of Python that runs an artifact."""
    graph = artifact.manifest.graphs[0]
    if len(graph.inputs) == len(graph.outputs) == len(artifact.manifest.graphs) == 1:
        return "y = runner(x)"
    feeds = "{" + ", ".join(f"{port.name!r}: {port.name}" for port in graph.inputs) + "}"
    several = len(artifact.manifest.graphs) > 1
    return f"outputs = runner.run({graph.name!r}, {feeds})" if several else f"outputs = runner({feeds})"
