"""`neurokit heads`: which heads of a language model retrieve, or should be calibrated, as a file that export reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokit.cli._common import (
    MOST_SEED,
    Debug,
    Json,
    build_folder,
    print_json,
    print_next,
    progress,
    stdout_is_for_json,
)
from neurokit.cli.outputs import Force, check_outputs

if TYPE_CHECKING:
    from neurokit.heads.retrieval import HeadScores

_SHOWN = 8  # heads that are written on the terminal


def heads(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A language model: zoo name, checkpoint, file.py:f.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="TOML file to write: the heads, for export and score.")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="retrieval, zerotuning or act.")] = "retrieval",
    documents: Annotated[
        Path | None,
        typer.Option("--documents", help="JSONL with ids, and answer, label or choices; retrieval can draw its own."),
    ] = None,
    share: Annotated[
        float | None, typer.Option("--share", help="Share of all heads; default .05, .4 of gains.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of drawn documents.")] = 0,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score every query head of a language model and write the best as a list of heads."""
    if out is not None:
        check_outputs(out, force=force)
    with stdout_is_for_json(as_json):
        from neurokit.attention.scopes import write_heads
        from neurokit.heads.api import find_heads
        from neurokit.loading import load

        with progress(f"score the heads of {model}"):
            found, chosen = find_heads(load(model), method, documents, share=share, seed=seed)
        if out is not None:
            note = f"written by neurokit heads {model} --method {method}: from {found.documents} documents"
            write_heads(chosen, out, note)
    if as_json:
        print_json(_as_json(found, chosen))
        return
    for layer, head in found.order()[:_SHOWN]:
        typer.echo(f"layer {layer} head {head}: {found.scores[layer, head]:.4g}")
    for key, value in chosen.settings.items():
        typer.echo(f"{key}: {value}")
    if out is not None and method == "retrieval":
        typer.echo(f"{out} is what `neurokit score FILE.jsonl --model {model} --heads` reads")
    elif out is not None:
        folder = build_folder(model, method)
        print_next(["export", model, "--transform", f"{method}:file={out}", "--target", "onnx-step", "--out", folder])


def _as_json(found: HeadScores, chosen: Any) -> dict[str, Any]:
    return {
        "model": found.model,
        "method": found.method,
        "documents": found.documents,
        "scores": found.scores.tolist(),
        "settings": dict(chosen.settings),
        "scopes": [
            {"layers": list(scope.layers), "heads": None if scope.heads is None else list(scope.heads)}
            for scope in chosen.scopes
        ],
    }
