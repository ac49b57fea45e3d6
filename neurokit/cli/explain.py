"""`neurokit explain`: what a classifier answers by, as pictures on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_page, progress, stdout_is_for_json
from neurokit.cli._data import Preprocess
from neurokit.cli._shapes import INPUT_SHAPE_HELP, parse_shapes
from neurokit.cli.outputs import Force, check_outputs


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A zoo name, or path/file.py:factory.")],
    data: Annotated[
        Path, typer.Option("--data", help="An .npz file with x and y, class folders, or a table of files and labels.")
    ],
    html: Annotated[Path, typer.Option("--html", help="Page to write; one file that needs nothing else.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="File with the weights (.safetensors, .pt), or pretrained.")
    ] = None,
    preprocess: Preprocess = None,
    embedding: Annotated[str, typer.Option("--embedding", metavar="pca|tsne", help="Features in a plane.")] = "pca",
    pictures: Annotated[int, typer.Option("--pictures", help="Largest number of samples to draw.")] = 24,
    transform: Annotated[
        list[str] | None,
        typer.Option("--transform", metavar="NAME[:KEY=VALUE,...]", help="Change the model before; repeatable."),
    ] = None,
    input_shape: Annotated[
        list[str] | None, typer.Option("--input-shape", metavar="C,H,W", help=INPUT_SHAPE_HELP)
    ] = None,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw where a classifier looks, how it tells classes apart and which it confuses."""
    check_outputs(html, force=force)
    with stdout_is_for_json(as_json):
        from neurokit.data.labelled import read_labelled
        from neurokit.data.sets import SampleFiles
        from neurokit.explain import explain as explained
        from neurokit.explain.explanation import check_settings
        from neurokit.loading import load
        from neurokit.page.explanation import save_html
        from neurokit.transforms import transform as apply

        check_settings(embedding, pictures)
        with progress(f"load {model}"):
            shape = parse_shapes(input_shape or [])
            spec = load(model, input_shape=shape, weights=weights, preprocess=preprocess)
            spec = apply(spec, transform) if transform else spec
        arrays = data.suffix == ".npz"
        samples = read_labelled(data) if arrays else SampleFiles.find(data, spec, spec.time_steps).labelled()
        with progress(f"explain {spec.name} on {len(samples.y):,} samples"):
            found = explained(spec, samples, embedding=embedding, pictures=pictures)
        save_html(found, html)
    if as_json:
        print_json({"html": str(html), **found.to_json()})
        return
    typer.echo(f"{found.accuracy.value:.1%} of {len(found.labels):,} answers are right")
    for pair in found.pairs:
        typer.echo(
            f"{found.classes[pair.label]} taken for {found.classes[pair.predicted]}: {pair.count} of {pair.total}"
        )
    print_page(html)
