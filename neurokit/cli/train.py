"""`neurokit train`: from a model and labelled images to weights and a record of how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokit.cli import _common
from neurokit.cli._common import (
    INTERRUPTED,
    Debug,
    Json,
    again,
    build_folder,
    print_json,
    print_next,
    stdout_is_for_json,
)
from neurokit.cli._data import Preprocess
from neurokit.cli._shapes import INPUT_SHAPE_HELP, parse_shapes
from neurokit.errors import TerminatedError

if TYPE_CHECKING:
    from neurokit.reports.training import TrainingReport


def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Zoo name, or path/file.py:factory.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="puppets or puppets:N (synthetic, N images a class); a folder with train/CLASS and val/CLASS.",
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder; default build/train/MODEL.")] = None,
    recipe: Annotated[
        str,
        typer.Option("--recipe", help="published (for pretrained networks) or scratch; the options below change it."),
    ] = "published",
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training images.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Images a step, on each device.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None,
    augmentation: Annotated[str | None, typer.Option("--augmentation", help="published, strong or none.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights to begin with: a file (.safetensors, .pt), or pretrained.")
    ] = None,
    preprocess: Preprocess = None,
    input_shape: Annotated[
        list[str] | None, typer.Option("--input-shape", metavar="C,H,W", help=INPUT_SHAPE_HELP)
    ] = None,
    time_steps: Annotated[int | None, typer.Option("--time-steps", help="T of a spiking model.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all chance.")] = 0,
    precision: Annotated[str, typer.Option("--precision", help="fp32, or mixed: fp16 (GPU) or bf16.")] = "fp32",
    devices: Annotated[int, typer.Option("--devices", help="GPUs, or processes without GPU.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")] = False,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep decoded images for the next time.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier training in the folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a classifier on labelled images; its weights are what --weights of the other commands takes."""
    from neurokit.data.folders import training_parts

    drawn = data.partition(":")[0] == "puppets" and not Path(data).exists()
    parts = None if drawn else training_parts(Path(data))  # before the seconds that libraries take
    with stdout_is_for_json(as_json):
        from neurokit.loading import load
        from neurokit.training.api import train as train_model

        spec = load(model, parse_shapes(input_shape or []), time_steps, weights, preprocess)
        folder = out or Path("build/train") / spec.name
        changes: dict[str, Any] = {"epochs": epochs, "batch": batch, "lr": lr, "augmentation": augmentation}
        with _keeping(folder), _bars() as (reading, progress):
            report = train_model(
                spec,
                data,
                folder,
                recipe=recipe,
                seed=seed,
                precision=precision,  # type: ignore[arg-type]
                devices=devices,
                resume=resume,
                force=force,
                cache=cache,
                reading=reading,
                progress=progress,
                **changes,
            )
    if as_json:
        print_json(report.to_json())
        return
    given: list[str | Path] = [] if preprocess is None else ["--preprocess", preprocess]
    given += [word for shape in input_shape or [] for word in ("--input-shape", shape)]
    given += [] if time_steps is None else ["--time-steps", str(time_steps)]
    _show(report, model, None if drawn else parts[0] if parts else Path(data), given)


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    """Says how to go on with a training that is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, TerminatedError) as error:
        if not (folder / "last.ckpt").is_file():
            raise
        how, status = ("terminated", error.code) if isinstance(error, TerminatedError) else ("interrupted", INTERRUPTED)
        typer.echo(f"{how}; {folder} holds the epochs that are done", err=True)
        more = [] if "--resume" in _common.given else ["--resume"]
        print_next(again(*more), err=True)
        raise typer.Exit(int(status or 0)) from None


def _show(report: TrainingReport, model: str, images: Path | None, given: list[str | Path]) -> None:
    from neurokit import render

    render.show(*render.training(report))
    export: list[str | Path] = ["export", model, "--weights", Path(report.folder) / report.weights, *given]
    calibrated: list[str | Path] = [] if images is None else ["--calibration", images]
    print_next(
        [*export, "--target", "onnx", "--out", build_folder(model, "onnx")],
        [*export, "--target", "onnx-int8", *calibrated, "--out", build_folder(model, "onnx-int8")],
    )


@contextmanager
def _bars() -> Iterator[tuple[Any, Any]]:
    """Shows on standard error how many files are read, and every epoch's metrics."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    parts = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*parts, console=console, transient=True, disable=not console.is_terminal) as bar:
        files = bar.add_task("read images", total=None, visible=False)
        task = bar.add_task("train", total=None)

        def reading(done: int, total: int) -> None:
            bar.update(files, completed=done, total=total, visible=done < total)

        def progress(done: int, total: int, row: Mapping[str, float]) -> None:
            said = "  ".join(f"{name} {row[name]:.4g}" for name in ("loss", "top_1", "macro_f1") if name in row)
            console.print(f"epoch {done} of {total}  {said}", soft_wrap=True)
            bar.update(task, completed=done, total=total)

        yield reading, progress
