"""`neurokit bench`: how long an inference takes here, on a packed device or over ssh, and whether that changed."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokit.cli._common import Debug, Json, again, print_json, print_next, stdout_is_for_json
from neurokit.cli._data import DATA_HELP, Preprocess, check_place
from neurokit.cli._shapes import INPUT_SHAPE_HELP, InputShape, parse_shapes
from neurokit.cli.outputs import check_outputs
from neurokit.errors import InputError, UnknownNameError
from neurokit.scratch import scratch

if TYPE_CHECKING:
    from neurokit.bench.job import Job
    from neurokit.bench.run import BenchRun


def bench(
    what: Annotated[list[str], typer.Argument(metavar="DIR|MODEL...", help="Artifacts, or one model; or two results.")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="For a model: targets to export to, torch-eager, torch-compile, torch-kernels, "
            "aoti or engine; repeatable; default all.",
        ),
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="single, offline, multi, stream or all; repeatable.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="10ms", help="Period of a time step in the scenario stream.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Batch size; 0 takes 1, or 16 offline.")] = 0,
    streams: Annotated[int, typer.Option("--streams", help="Streams at once in the scenario multi.")] = 4,
    threads: Annotated[int, typer.Option("--threads", help="Threads within an operator; 0 leaves it open.")] = 0,
    provider: Annotated[str, typer.Option("--provider", help="One execution provider instead of all.")] = "",
    time_steps: Annotated[int, typer.Option("--time-steps", help="For a model: T; 0 takes the model's own.")] = 0,
    numerics: Annotated[str, typer.Option("--numerics", help="For a model: float or exact.")] = "float",
    bits: Annotated[int, typer.Option("--bits", help="For --numerics exact: bits of a weight.")] = 8,
    seconds: Annotated[float, typer.Option("--seconds", help="Measure each at least this long.")] = 10.0,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="For a model: its weights: a file (.safetensors, .pt), or pretrained."),
    ] = None,
    preprocess: Preprocess = None,
    input_shape: Annotated[
        list[str] | None, typer.Option("--input-shape", metavar="C,H,W", help=INPUT_SHAPE_HELP)
    ] = None,
    meter: Annotated[
        str, typer.Option("--meter", help="auto, none, rapl, nvml, ina, jtop, tegrastats or csv:FILE.")
    ] = "auto",
    data: Annotated[Path | None, typer.Option("--data", help=f"{DATA_HELP} The task's metric as well.")] = None,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Measure artifacts whose verification failed, and say so.")
    ] = False,
    pack: Annotated[
        Path | None, typer.Option("--pack", metavar="FOLDER", help="Write a folder to run on a device instead.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="USER@BOARD", help="Measure there, over ssh.")] = None,
    python: Annotated[str, typer.Option("--python", help="Python on the device.")] = "python3",
    ssh_option: Annotated[list[str] | None, typer.Option("--ssh-option", metavar="NAME=VALUE")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for the result, with every sample.")] = None,
    history: Annotated[Path | None, typer.Option("--history", help="History file to add the result to.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare two results: before and after.")] = False,
    margin: Annotated[float, typer.Option("--margin", help="Change that is not called, as a share.")] = 0.03,
    confidence: Annotated[float, typer.Option("--confidence", help="Least confidence of a comparison.")] = 0.95,
    allow_invalid: Annotated[bool, typer.Option("--allow-invalid", help="Compare INVALID runs all the same.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a pack that is there, or a file that is no report of neurokit.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure latency, throughput, memory and, where there is a meter, energy; or compare two results."""
    from neurokit.bench.compare import check_limits
    from neurokit.bench.job import Job, Rules
    from neurokit.bench.plan import parse_deadline

    check_limits(margin, confidence)
    if compare:
        _compare(what, margin, confidence, allow_invalid, as_json)
        return
    rules = Rules(seconds=seconds, limit_s=max(120.0, seconds))
    base = Job(
        "artifact",
        "",
        batch=batch,
        streams=streams,
        deadline_s=parse_deadline(deadline),
        threads=threads,
        provider=provider,
        time_steps=time_steps,
        numerics=numerics,
        bits=bits,
        meter=meter,
        weights=_weights(weights),
        preprocess=_absolute(preprocess),
        input_shape=_as_data(parse_shapes(input_shape or [])),
        allow_mismatch=allow_mismatch,
        rules=rules,
    )
    _refuse_unknown(target or [])
    asked = scenario or []
    for name in asked:
        if name != "all":
            replace(base, scenario=name)  # refuses an unknown one before any work
    check_place(data, "--data")
    check_outputs(out, force=force)
    check_outputs(history, force=True)  # it is added to, not replaced
    if history is not None and history.exists():
        from neurokit.bench.history import read

        read(history)  # what is no history ends it here, before anything is measured
    with scratch("bench") as temporary, stdout_is_for_json(as_json):
        jobs, failures = _plan(what, target or [], base, asked, temporary, on_device=bool(pack or host))
        if data is not None:
            from neurokit.bench.data import with_data

            jobs = with_data(jobs, data, temporary)
        if pack is not None:
            _pack(pack, jobs, force, as_json)
            return
        run = _run(jobs, host, python, ssh_option or [])
        run = replace(run, failures=(*failures, *run.failures))
    _show(run, out, history, as_json)


def _weights(given: Path | None) -> str:
    from neurokit.pretrained import is_pretrained

    return "" if given is None else str(given if is_pretrained(given) else given.resolve())


def _absolute(preprocess: str | None) -> str:
    """Returns a declared preprocessing as other processes find it."""
    if preprocess is None:
        return ""
    path, colon, name = preprocess.rpartition(":") if ".py:" in preprocess else (preprocess, "", "")
    return f"{Path(path).resolve()}{colon}{name}"


def _refuse_unknown(names: list[str]) -> None:
    """Refuses the name of a row that there is not, with both kinds of rows in the answer."""
    from neurokit.bench.plan import MODEL_ROWS
    from neurokit.target import TARGETS

    known = [*MODEL_ROWS, *TARGETS.names()]
    for name in names:
        if name in TARGETS.broken:
            TARGETS.get(name)  # says why it did not load
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            raise UnknownNameError(
                f"unknown target {name!r}",
                expected="one of " + ", ".join(known),
                fix=f"did you mean {' or '.join(near)}?" if near else "list them with: neurokit targets",
            )


def _as_data(shape: InputShape) -> tuple[int | str, ...] | dict[str, Any]:
    """Returns an input shape as a job holds it."""
    return dict(shape) if isinstance(shape, Mapping) else tuple(shape or ())


def _plan(
    what: list[str], targets: list[str], base: Job, asked: list[str], temporary: Path, *, on_device: bool
) -> tuple[list[Job], list[dict[str, str]]]:
    """Returns the jobs; a model is exported first, for all its targets."""
    from neurokit.bench import plan
    from neurokit.bench.subjects import load_model
    from neurokit.cli._common import progress

    jobs: list[Job] = []
    failures: list[dict[str, str]] = []
    for name in what:
        is_model = Path(name).is_file() or ":" in name or (not Path(name).exists() and "/" not in name)
        if not is_model:
            jobs += plan.plan_folder(Path(name), base, asked)
            continue
        spec = load_model(name, base)  # an unknown name ends it here
        rows = [target for target in targets if target in plan.MODEL_ROWS]
        chosen = [target for target in targets if target not in plan.MODEL_ROWS]
        if not targets:
            chosen = plan.usable_targets(on_device=on_device)
        if not on_device and (rows or not targets):
            jobs += plan.plan_model(name, base, asked, rows, spiking=spec.spiking)
        if not chosen:
            continue
        with progress(f"export {name} to {', '.join(chosen)}"):
            folders, failed = plan.export_all(spec, chosen, temporary, base.numerics, base.bits)
        failures += failed
        for folder in folders:
            jobs += plan.plan_folder(folder, base, asked)
    if on_device:  # the device looks for its own providers
        jobs = [job for job in jobs if job.provider == base.provider]
    return jobs, failures


def _run(jobs: list[Job], host: str | None, python: str, options: list[str]) -> BenchRun:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("start", total=1.0, left="")

        def tell(name: str, share: float, left_s: float | None) -> None:
            left = "" if left_s is None else f"{left_s // 60:.0f}:{left_s % 60:02.0f} left"
            bar.update(task, description=name, completed=share, left=left)

        if host is None:
            from neurokit.bench.run import run_here

            return run_here(jobs, tell)
        from neurokit.bench.ssh import run_there

        return run_there(host, jobs, python=python, options=options, progress=tell)


def _pack(out: Path, jobs: list[Job], force: bool, as_json: bool) -> None:
    from neurokit.bench.pack import write_pack

    folder = write_pack(out, jobs, force=force)
    if as_json:
        print_json({"pack": str(out), "jobs": len(jobs), "script": str(folder / "bench.py")})
    else:
        typer.echo(f"copy {shlex.quote(str(out))} to the device, and run there: python3 bench.py")
        typer.echo("its result.json is what `neurokit report result.json --html page.html` shows")


def _show(run: BenchRun, out: Path | None, history: Path | None, as_json: bool) -> None:
    if out is not None and run.reports:
        run.save(out)
    if history is not None and run.reports:
        from neurokit.bench.history import append

        append(history, run)
    if as_json:
        print_json(run.to_json())
    else:
        from neurokit.render import latency, show

        show(latency.bench(run))
        if run.reports:
            page = ["report", str(out), "--html", "page.html"]
            print_next(page if out is not None else again("--out", "result.json"))
    raise typer.Exit(0 if run.reports else 1)


def _compare(files: list[str], margin: float, confidence: float, allow_invalid: bool, as_json: bool) -> None:
    from neurokit.bench.compare import compare_runs
    from neurokit.bench.run import BenchRun

    if len(files) != 2:
        raise InputError(f"--compare was given {len(files)} files", expected="two: before.json after.json")
    before, after = (BenchRun.load(Path(name)) for name in files)
    found = compare_runs(before, after, margin=margin, confidence=confidence, allow_invalid=allow_invalid)
    if as_json:
        print_json({"comparisons": [entry.to_json() for entry in found]})
    else:
        from neurokit.render import latency, show

        show(latency.comparisons(found))
    raise typer.Exit(1 if any(entry.outcome == "slower" for entry in found) else 0)
