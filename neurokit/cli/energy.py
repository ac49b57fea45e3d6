"""`neurokit energy MODEL --chip C`: joules and latency of one inference on real chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next, progress, stdout_is_for_json
from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.hw_sim.chips.profile import HardwareProfile
    from neurokit.reports.energy import EnergyReport
    from neurokit.spec import ModelSpec


def energy(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A zoo name (neurokit models), or path/file.py:factory.")
    ],
    chip: Annotated[list[str], typer.Option("--chip", help="Chip (neurokit chips) or a .toml file; repeatable.")],
    input_file: Annotated[
        Path | None,
        typer.Option("--input", help="Samples: an image, .npy or .npz of arrays or events, .aedat, .aedat4 or .wav."),
    ] = None,
    estimator: Annotated[
        list[str] | None, typer.Option("--estimator", help="Rule from the literature; repeatable.")
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
    time_steps: Annotated[int | None, typer.Option("--time-steps", min=1, help="Time steps T.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="File with the weights (.safetensors, .pt).")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option("--input-shape", metavar="C,H,W", help="One sample without T and B, for a bare nn.Module."),
    ] = None,
    rate_coded: Annotated[
        int | None,
        typer.Option(
            "--rate-coded", metavar="T", min=1, help="Convert a network of ReLUs to spikes, T steps of rates."
        ),
    ] = None,
    check_events: Annotated[
        bool,
        typer.Option(
            "--check-events",
            help="Bring MODEL into exact form, compute it once more from events alone, compare every spike.",
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for the whole report.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the report as one HTML page.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Count MODEL's events on real input, map it on chips, and say what one inference costs."""
    from neurokit import render
    from neurokit.hw_sim.estimators import ESTIMATORS
    from neurokit.hw_sim.mapping.tiles import STRATEGIES
    from neurokit.hw_sim.pricing.timing import PACES
    from neurokit.hw_sim.simulate import DEFAULT_ESTIMATORS
    from neurokit.render.energy import energy as energy_report

    profiles = priced_chips(chip, price or [])
    for name in estimator or ():
        ESTIMATORS.get(name.partition(":")[0])
    if pace is not None and pace not in PACES:
        raise InputError(f"--pace is {pace!r}", expected="one of " + ", ".join(PACES))
    if mapping not in STRATEGIES:
        raise InputError(f"--mapping is {mapping!r}", expected="one of " + ", ".join(STRATEGIES))
    _refuse_early(input_file, out, html_file)
    with stdout_is_for_json(as_json):
        rules = estimator or DEFAULT_ESTIMATORS
        report = _simulate(
            model,
            profiles,
            input_file,
            rules,
            mapping,
            step_seconds,
            pace,
            time_steps,
            weights,
            input_shape,
            rate_coded,
            check_events,
        )
        if out:
            report.save_json(out)
        if html_file:
            from neurokit.page.energy import save_html

            save_html(report, html_file)
    differs = report.event_check is not None and report.event_check.differing > 0
    if as_json:
        print_json(report.to_json())
        raise typer.Exit(int(differs))
    render.show(energy_report(report))
    written = [f"open {path}" for path in (html_file, out) if path]
    print_next(*(written or [f"neurokit energy {model} --chip {chip[0]} --html energy.html"]))
    raise typer.Exit(int(differs))


def _simulate(
    model: str,
    profiles: list[HardwareProfile],
    input_file: Path | None,
    estimators: Sequence[str],
    mapping: str,
    step_seconds: float | None,
    pace: str | None,
    time_steps: int | None,
    weights: Path | None,
    input_shape: str | None,
    rate_steps: int | None,
    check_events: bool,
) -> EnergyReport:
    from neurokit import pipeline
    from neurokit.cli.export import parse_shape
    from neurokit.loading import load

    with progress(f"load {model}"):
        spec = load(model, input_shape=parse_shape(input_shape), time_steps=time_steps, weights=weights)
    spec, remarks = _in_rates(spec, rate_steps)
    steps = rate_steps or time_steps or spec.time_steps or 1
    with progress(f"capture {spec.name}"):
        captured = pipeline.capture(spec, time_steps=steps if spec.spiking else None)
    if check_events:
        if not spec.spiking:
            raise InputError(f"--check-events needs spikes, {spec.name!r} has no neurons", fix="leave it out")
        with progress("bring it into exact form"):
            captured = pipeline.exact(captured).captured
    with progress("count, map and price"):
        report: EnergyReport = pipeline.simulate(
            captured,
            input_file,
            profiles,
            estimators=estimators,
            mapping=mapping,
            step_seconds=step_seconds,
            pace=pace,
            check_events=check_events,
        )
    return replace(report, assumptions=(*report.assumptions, *remarks))


def _in_rates(spec: ModelSpec, steps: int | None) -> tuple[ModelSpec, list[str]]:
    """Returns the model in rate code, if that was asked for, and how near it comes to its source."""
    if steps is None:
        return spec, []
    from neurokit.transforms.rate_coding import rate_coded

    with progress(f"convert {spec.name} to rates"):
        made = rate_coded(spec, steps)
    same = "" if made.top1_agreement is None else f", top-1 agreement {made.top1_agreement:.0%}"
    return made.spec, [
        f"rate code of {made.neurons} ReLU layers over {steps} steps: output error {made.error:.2g} (relative L2) "
        f"against the network without spikes on {made.samples} samples{same}"
    ]


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


def _refuse_early(input_file: Path | None, *outputs: Path | None) -> None:
    """Refuses a missing input or an unusable place before the minutes that loading and counting can take."""
    if input_file is not None and not input_file.is_file():
        raise InputError(f"there is no input file {input_file}", expected="an image, an array or an event file")
    for path in outputs:
        if path is not None and not path.absolute().parent.is_dir():
            raise InputError(f"there is no folder {path.absolute().parent}", fix="create it first")
