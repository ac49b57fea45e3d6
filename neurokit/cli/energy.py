"""`neurokit energy MODEL --chip C`: joules and latency of one inference on real chips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurokit.cli._common import (
    INTERRUPTED,
    Debug,
    Json,
    Random,
    again,
    print_json,
    print_next,
    print_page,
    progress,
    samples_done,
    stdout_is_for_json,
)
from neurokit.cli._data import DATA_HELP, Preprocess, check_place
from neurokit.cli._shapes import INPUT_SHAPE_HELP, parse_shapes
from neurokit.cli._tokens import check_text, count_tokens
from neurokit.cli.outputs import Force, check_outputs
from neurokit.errors import InputError
from neurokit.scratch import scratch
from neurokit.stages import timed

if TYPE_CHECKING:
    from neurokit.hw_sim.chips.profile import HardwareProfile
    from neurokit.reports.energy import EnergyReport
    from neurokit.spec import ModelSpec


def energy(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A zoo name (neurokit models), or path/file.py:factory.")
    ],
    chip: Annotated[
        list[str] | None, typer.Option("--chip", help="Chip (neurokit chips) or a .toml file; repeatable.")
    ] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "--data",
            metavar="FOLDER|FILE",
            help=f"{DATA_HELP} Events (.npy, .npz, .aedat), sound (.wav) and volumes (.nii.gz) too.",
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="How many samples of --input; default is all of them.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes that share the samples of --input (extra sweep).")
    ] = 1,
    estimator: Annotated[
        list[str] | None, typer.Option("--estimator", help="Rule from the literature; repeatable.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="DEVICE|FILE",
            help="Edge device (hw_sim/devices), or the JSON of a neurokit bench that measured joules; repeatable.",
        ),
    ] = None,
    mapping: Annotated[str, typer.Option("--mapping", help="in-order, hilbert or annealed.")] = "annealed",
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="CHIP:TERM=JOULES", help="A price that you answer for; repeatable."),
    ] = None,
    step_seconds: Annotated[
        float | None,
        typer.Option("--step-seconds", min=0.0, help="Time between two inputs, where a sensor sets the pace."),
    ] = None,
    pace: Annotated[
        str | None,
        typer.Option("--pace", help="chip: as fast as its cores go; host: a host that streams the inputs."),
    ] = None,
    voltage: Annotated[
        list[str] | None,
        typer.Option("--voltage", metavar="[CHIP=]VOLTS", help="Supply voltage, of all chips or of one; repeatable."),
    ] = None,
    weight_bits: Annotated[
        str | None,
        typer.Option("--weight-bits", metavar="BITS", help="Width of all weights: 1 to 32, binary or ternary."),
    ] = None,
    queueing: Annotated[
        bool, typer.Option("--queueing", help="Let packets wait for each other on the mesh, where a chip has one.")
    ] = False,
    time_steps: Annotated[int | None, typer.Option("--time-steps", min=1, help="Time steps T.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="File with the weights (.safetensors, .pt), or pretrained.")
    ] = None,
    preprocess: Preprocess = None,
    input_shape: Annotated[
        list[str] | None, typer.Option("--input-shape", metavar="C,H,W", help=INPUT_SHAPE_HELP)
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", metavar="N", help="Of a language model: what the N-th token of a text costs."),
    ] = None,
    transform: Annotated[
        list[str] | None,
        typer.Option(
            "--transform",
            metavar="NAME[:KEY=VALUE,...]",
            help="Change the model first (neurokit list transforms); repeatable, in order.",
        ),
    ] = None,
    rate_coded: Annotated[
        int | None,
        typer.Option(
            "--rate-coded", metavar="T", min=1, help="Convert a network of ReLUs to spikes, T steps of rates."
        ),
    ] = None,
    random: Random = "refuse",
    check_events: Annotated[
        bool,
        typer.Option(
            "--check-events",
            help="Bring MODEL into exact form, compute it once more from events alone, compare every spike.",
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for the whole report.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the report as one HTML page.")] = None,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Count MODEL's events on real input, map it on chips, and say what one inference costs.

    A run over samples that is interrupted reports those that are done and ends with status 130; with --out the same
    command goes on from there.
    """
    from neurokit import render
    from neurokit.hw_sim.devices import load_comparator
    from neurokit.hw_sim.simulate import DEFAULT_ESTIMATORS
    from neurokit.render.energy import energy as energy_report
    from neurokit.simulation import check_choices

    chip = chip or []
    if tokens is not None and check_events and not chip:
        check_outputs(out, force=force)
        raise typer.Exit(check_text(model, tokens, out, as_json))
    if not chip and tokens is None:
        raise InputError("no chip is named", expected="--chip NAME", fix="neurokit chips lists them")
    profiles = at_voltages(chip, priced_chips(chip, price or []), voltage or [])
    if tokens is not None:
        check_outputs(out, html_file, force=force)
        others = {"--input": input_file, "--html": html_file, "--estimator": estimator, "--compare": compare}
        count_tokens(model, tokens, profiles, out, as_json, {**others, "--check-events": check_events}, transform)
        return
    for device in compare or ():
        load_comparator(device)
    check_choices(estimator or (), mapping, pace, weight_bits, "--")
    check_place(input_file, "--input")
    check_outputs(out, html_file, force=force)
    with stdout_is_for_json(as_json), timed() as seconds:
        rules = estimator or DEFAULT_ESTIMATORS
        report = _simulate(
            model,
            profiles,
            input_file,
            rules,
            mapping,
            step_seconds,
            pace,
            weight_bits,
            queueing,
            time_steps,
            weights,
            preprocess,
            input_shape,
            transform,
            rate_coded,
            random,
            check_events,
            compare,
            samples,
            out,
            workers,
        )
        if out:
            report.save_json(out)
        if html_file:
            from neurokit.page.energy import save_html

            save_html(report, html_file)
    differs = report.event_check is not None and report.event_check.differing > 0
    status = INTERRUPTED if report.interrupted else int(differs)
    if as_json:
        print_json({**report.to_json(), "seconds": seconds})
        raise typer.Exit(status)
    render.show(energy_report(report))
    if html_file:
        print_page(html_file)
    else:
        print_next(again("--html", "energy.html"))
    raise typer.Exit(status)


def _simulate(
    model: str,
    profiles: list[HardwareProfile],
    input_file: Path | None,
    estimators: Sequence[str],
    mapping: str,
    step_seconds: float | None,
    pace: str | None,
    weight_bits: str | None,
    queueing: bool,
    time_steps: int | None,
    weights: Path | None,
    preprocess: str | None,
    input_shape: list[str] | None,
    transform: list[str] | None,
    rate_steps: int | None,
    random: str,
    check_events: bool,
    compare: list[str] | None,
    samples: int | None,
    out: Path | None,
    workers: int,
) -> EnergyReport:
    from neurokit import pipeline
    from neurokit.data.found import find
    from neurokit.loading import load
    from neurokit.simulation import check_spec, judged
    from neurokit.soundness import undeclared_pixels

    with progress(f"load {model}"):
        shape = parse_shapes(input_shape or [])
        spec = load(model, input_shape=shape, time_steps=time_steps, weights=weights, preprocess=preprocess)
    if input_file is not None and (doubt := undeclared_pixels(spec, find(input_file))):
        typer.echo(f"warning: {doubt}", err=True)
    if changes := pipeline.with_random(transform or (), random):
        from neurokit.transforms import transform as apply

        spec = apply(spec, changes)
    source = spec
    spec, remarks = _in_rates(spec, rate_steps)
    steps = rate_steps or time_steps or spec.time_steps or 1
    check_spec(spec)
    with progress(f"capture {spec.name}"):
        captured = pipeline.capture(spec, time_steps=steps if spec.spiking else None)
    if check_events:
        if not spec.spiking:
            raise InputError(f"--check-events needs spikes, {spec.name!r} has no neurons", fix="leave it out")
        with progress("bring it into exact form"):
            captured = pipeline.exact(captured).captured
    keep = out.with_name(out.name + ".partial") if out and input_file else None
    shared = workers > 1 and input_file is not None and captured.spiking
    with samples_done("count, map and price") as advance, _shared(keep, shared) as keep:
        if shared:
            from neurokit.sweep.samples import Job, share

            options = {"mapping": mapping, "step_seconds": step_seconds, "pace": pace, "weight_bits": weight_bits}
            job = Job(
                model,
                str(input_file),
                profiles,
                samples,
                parse_shapes(input_shape or []),
                time_steps,
                str(weights or ""),
                changes,
                rate_steps,
                check_events,
                {**options, "queueing": queueing},
                preprocess or "",
            )
            share(job, captured, keep, workers, advance)
        report: EnergyReport = pipeline.simulate(
            captured,
            input_file,
            profiles,
            estimators=estimators,
            mapping=mapping,
            step_seconds=step_seconds,
            pace=pace,
            weight_bits=weight_bits,
            queueing=queueing,
            check_events=check_events,
            devices=compare,
            samples=samples,
            keep=keep,
            progress=advance,
        )
    report = replace(report, assumptions=(*report.assumptions, *remarks))
    return report if spec is source else judged(report, source)


@contextmanager
def _shared(keep: Path | None, shared: bool) -> Iterator[Path | None]:
    """Gives a place for the figures that workers find where the user asked for no file beside which they are kept."""
    if keep is not None or not shared:
        yield keep
        return
    with scratch("samples") as folder:
        yield folder / "kept"


def _in_rates(spec: ModelSpec, steps: int | None) -> tuple[ModelSpec, list[str]]:
    """Returns the model in rate code, if that was asked for, and how near it comes to its source."""
    if steps is None:
        return spec, []
    from neurokit.transforms.rate_coding.convert import rate_coded

    with progress(f"convert {spec.name} to rates"):
        made = rate_coded(spec, steps)
    return made.spec, [made.summary()]


def priced_chips(names: list[str], prices: list[str]) -> list[HardwareProfile]:
    """Returns the chips, with the prices that the user gave.

    Args:
        names: Names or paths of chips.
        prices: Entries `CHIP:TERM=JOULES`.

    Raises:
        UnknownNameError: If a chip is unknown.
        InputError: If an entry has another form, or is of a chip that was not named.
    """
    from neurokit.hw_sim.chips.file import load_chip

    given: dict[str, dict[str, float]] = {name: {} for name in names}
    for entry in prices:
        place, _, value = entry.rpartition("=")
        name, _, term = place.rpartition(":")
        try:
            joules = float(value)
        except ValueError:
            joules = float("nan")
        if name not in given or not term or not joules >= 0:
            raise InputError(
                f"--price is {entry!r}",
                expected="CHIP:TERM=JOULES, of a chip that is named with --chip",
                fix="for example --price loihi2:synaptic_event=20e-12",
            )
        given[name][term] = joules
    return [load_chip(name).with_prices(given[name]) if given[name] else load_chip(name) for name in names]


def at_voltages(names: list[str], profiles: list[HardwareProfile], given: list[str]) -> list[HardwareProfile]:
    """Returns the chips at the voltages that the user gave.

    Args:
        names: Names or paths of chips.
        profiles: These chips.
        given: Entries `VOLTS`, for all, or `CHIP=VOLTS`.

    Raises:
        InputError: If an entry has another form or is of a chip that was not named, or a voltage is outside a range.
    """
    volts: dict[str, float] = {}
    for entry in given:
        name, _, text = entry.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not value > 0 or (name and name not in names):
            raise InputError(
                f"--voltage is {entry!r}",
                expected="VOLTS, or CHIP=VOLTS of a chip that is named with --chip",
                fix="for example --voltage truenorth=0.75",
            )
        volts |= dict.fromkeys([name] if name else names, value)
    return [p.at_voltage(volts[n]) if n in volts else p for n, p in zip(names, profiles, strict=True)]
