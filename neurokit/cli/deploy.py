"""`neurokit deploy MODEL --data DIR`: every form, here and on devices and chips, and which one to use."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next, print_page, progress, stdout_is_for_json, without
from neurokit.cli._data import DATA_HELP, Preprocess
from neurokit.cli._shapes import INPUT_SHAPE_HELP, parse_shapes


def deploy(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A zoo name (neurokit models), or path/file.py:factory.")
    ],
    data: Annotated[Path, typer.Option("--data", help=DATA_HELP)],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="File with the weights (.safetensors, .pt), or pretrained.")
    ] = None,
    preprocess: Preprocess = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", metavar="USER@BOARD", help="Measure there, over ssh; repeatable.")
    ] = None,
    chip: Annotated[
        list[str] | None,
        typer.Option("--chip", help="Chip to price on (neurokit chips), or none; repeatable. Default loihi1, speck2f."),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TERMS", help='Limits: "p99<10ms,size<5MB,loss<1" (loss in points).')
    ] = "",
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME[:exact]", help="Only these forms; repeatable. Default all."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="How many samples, spread over the data; default all.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="Samples to calibrate on; default some of --data.")
    ] = None,
    time_steps: Annotated[int | None, typer.Option("--time-steps", min=1, help="Time steps T.")] = None,
    input_shape: Annotated[
        list[str] | None, typer.Option("--input-shape", metavar="C,H,W", help=INPUT_SHAPE_HELP)
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Measure each at least this long.")] = 10.0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads within an operator; 0: open.")] = 0,
    rate_steps: Annotated[
        int, typer.Option("--rate-steps", min=1, help="T of the rates where a network of ReLUs is priced on chips.")
    ] = 32,
    python: Annotated[str, typer.Option("--python", help="Python on the devices.")] = "python3",
    ssh_option: Annotated[list[str] | None, typer.Option("--ssh-option", metavar="NAME=VALUE")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for everything; default build/deploy-MODEL.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    force: Annotated[bool, typer.Option("--again", help="Repeat steps that are done.")] = False,
    show: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open the page in a browser; default in a terminal.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Lower MODEL to all that this machine can make, verify, score, measure and price it, and say what to use."""
    with stdout_is_for_json(as_json):
        from neurokit.deploy.api import PAGE, prepare, run
        from neurokit.deploy.plan import DEFAULT_CHIPS, DeployOptions

        options = DeployOptions(
            weights=weights,
            preprocess=preprocess,
            devices=tuple(device or ()),
            chips=() if chip == ["none"] else tuple(chip or DEFAULT_CHIPS),
            budget=budget,
            targets=tuple(target or ()),
            samples=samples,
            calibration=calibration,
            time_steps=time_steps,
            input_shape=parse_shapes(input_shape or []),
            seconds=seconds,
            threads=threads,
            python=python,
            ssh_options=tuple(ssh_option or ()),
            rate_steps=rate_steps,
            again=force,
        )
        with progress(f"plan {model}"):
            prepared = prepare(model, data, out, options)
        plan = prepared.plan
        if not as_json:
            for line in (*(f"warning: {warning}" for warning in plan.warnings), *plan.lines()):
                typer.echo(line)
        report = None
        if not dry_run:
            with _measuring() as tell:
                report = run(prepared, progress, tell)
    if report is None:
        _dry(plan, as_json)
        return
    page = plan.folder / PAGE
    if as_json:
        print_json({**report.to_json(), "plan": plan.to_json(), "page": str(page)})
    else:
        from neurokit import render
        from neurokit.render.deploy import deploy as table

        render.show(table(report))
        print_page(page)
        print_next(*_use(report, data))
    if show or (show is None and not as_json and sys.stdout.isatty()):
        webbrowser.open(page.resolve().as_uri())
    raise typer.Exit(0 if report.best is not None else 1)


def _dry(plan: Any, as_json: bool) -> None:
    if as_json:
        print_json({"plan": plan.to_json()})
        return
    print_next(without("--dry-run"))


def _use(report: Any, data: Path) -> list[list[str | Path]]:
    best = report.best
    if best is None or not best.artifact:
        return []
    return [["run", Path(report.folder) / best.artifact, data]]


@contextmanager
def _measuring() -> Iterator[Callable[[str, float, float | None], None]]:
    """Says on standard error, in a terminal, what is being measured."""
    if not sys.stderr.isatty():
        yield lambda name, share, left: None
        return

    def tell(name: str, share: float, left: float | None) -> None:
        sys.stderr.write(f"\r\033[K{name} {share:.0%}")
        sys.stderr.flush()

    yield tell
    sys.stderr.write("\r\033[K")
