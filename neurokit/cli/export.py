"""`neurokit export`: from a model to a verified folder that runs without its sources."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokit.cli._common import (
    Debug,
    Json,
    Random,
    number_or_dynamic,
    print_json,
    print_next,
    progress,
    stdout_is_for_json,
    without,
)
from neurokit.cli._data import DATA_HELP, Preprocess, calibration_of, check_place, labelled_of
from neurokit.cli._shapes import INPUT_SHAPE_HELP, parse_shapes
from neurokit.errors import InputError
from neurokit.stages import stage, timed

if TYPE_CHECKING:
    from neurokit.plans import LoweringPlan


class Numerics(StrEnum):
    """How numbers are kept."""

    float = "float"
    exact = "exact"


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A zoo name (neurokit models), or path/file.py:factory.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it appears whole or not at all.")],
    target: Annotated[str, typer.Option("--target", help="What to lower to (neurokit targets).")] = "onnx",
    time_steps: Annotated[
        str | None, typer.Option("--time-steps", metavar="N|dynamic", help="Time steps T of a spiking model.")
    ] = None,
    numerics: Annotated[
        Numerics, typer.Option("--numerics", help="float, or exact: the same spikes on every target, bit for bit.")
    ] = Numerics.float,
    bits: Annotated[int, typer.Option("--bits", min=2, max=8, help="Bits of a weight, with --numerics exact.")] = 8,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="Inputs for exact numerics and int8: a folder or file of samples, or a .npy array [T, B, ...] or "
            "[B, ...]; .npz: inputs by name.",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help=f"{DATA_HELP} Accuracy before and after.")] = None,
    fine_tune: Annotated[
        Path | None,
        typer.Option("--fine-tune", help="Labelled data to train on, for exact numerics and onnx-int8; as --data."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="File with the weights (.safetensors, .pt), or pretrained.")
    ] = None,
    preprocess: Preprocess = None,
    batch: Annotated[str, typer.Option("--batch", metavar="N|dynamic", help="Batch size.")] = "dynamic",
    input_shape: Annotated[
        list[str] | None,
        typer.Option("--input-shape", metavar="C,H,W", help=INPUT_SHAPE_HELP),
    ] = None,
    transform: Annotated[
        list[str] | None,
        typer.Option(
            "--transform",
            metavar="NAME[:KEY=VALUE,...]",
            help="Change the model before capture (neurokit list transforms); repeatable, in order.",
        ),
    ] = None,
    random: Random = "refuse",
    flat: Annotated[bool, typer.Option("--flat", help="Plain operators only, no ONNX local functions.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the target; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which layers go into which kernel, and stop (target aoti).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact that is there already.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Lower MODEL to a target, verify the result, and write both into a folder."""
    steps = number_or_dynamic(time_steps, "--time-steps")
    size = number_or_dynamic(batch, "--batch")
    shape = parse_shapes(input_shape or [])
    extra = parse_options(option or [])
    changes = _changes(transform or [], random)
    _refuse_early(target, out, force, changes)
    _refuse_request(target, numerics, flat, extra, changes, dry_run)
    if numerics is Numerics.exact:
        extra |= {} if bits == 8 else {"bits": bits}
    elif bits != 8:
        raise InputError("--bits is for exact numerics", fix="add --numerics exact")
    elif fine_tune is not None and not _fine_tunes(target):
        fix = "add --numerics exact, or --target onnx-int8"
        raise InputError("--fine-tune is for exact numerics and onnx-int8", fix=fix)
    elif calibration is not None and not _calibrated(target):
        raise InputError("--calibration is for exact numerics and int8", fix="add --numerics exact")
    for place, name in ((calibration, "--calibration"), (data, "--data"), (fine_tune, "--fine-tune")):
        check_place(place, name)
    with stdout_is_for_json(as_json), timed() as seconds:
        from neurokit import pipeline
        from neurokit.accepted import with_free_batch
        from neurokit.artifact import file_info
        from neurokit.loading import load
        from neurokit.reports import Fidelity, ParityReport

        with progress(f"load {model}"), stage("load"):
            known = steps if isinstance(steps, int) else None
            spec = load(model, input_shape=shape, time_steps=known, weights=weights, preprocess=preprocess)
        if changes:
            from neurokit.transforms import transform as apply

            with progress(f"transform {spec.name}"):
                spec = apply(spec, changes)
        _refuse_ports(spec, target, numerics)
        _refuse_selection(spec, extra)
        extra |= {} if calibration is None else {"calibration": calibration_of(calibration, spec)}
        extra |= {} if fine_tune is None else {"fine_tune": labelled_of(fine_tune, spec)}
        extra |= {} if data is None else {"data": labelled_of(data, spec)}
        with progress(f"capture {spec.name}"):
            merge = numerics is Numerics.exact or spec.exact_bits is not None  # the exact form has merged branches
            captured = with_free_batch(lambda **b: pipeline.capture(spec, time_steps=steps, merge=merge, **b), size)
        made = _planned(captured, target, numerics.value, extra) if dry_run else None
        if made is None:
            with progress(f"lower to {target} and verify {out}"):
                artifact = pipeline.lower(
                    captured,
                    target,
                    out,
                    numerics=numerics.value,
                    batch=size,
                    flat=flat,
                    force=force,
                    weights_sha256=file_info(weights).sha256 if weights and weights.is_file() else None,
                    simulators=True,
                    **extra,
                )
            report = ParityReport.from_json(artifact.manifest.parity or {})
    if made is not None:
        _say_plan(made, as_json)
        return
    said = {key: artifact.manifest.target_info[key] for key in _SAID if key in artifact.manifest.target_info}
    if as_json:
        shown = {"artifact": str(out), "parity": report.to_json(), "fidelity": artifact.manifest.fidelity}
        print_json({**shown, "seconds": seconds, **said})
    else:
        from neurokit import render

        compared = artifact.manifest.fidelity
        checked = render.fidelity(None if compared is None else Fidelity.from_json(compared))
        render.show(*checked, render.parity(report), *render.accuracy(said))
        print_next(["verify", out])
    raise typer.Exit(0 if report.passed else 1)


def _planned(captured: Any, target: str, numerics: str, extra: dict[str, Any]) -> LoweringPlan:
    """Returns what the target would make of the layers."""
    from neurokit.plans import plan

    return plan(captured, target, numerics=numerics, **extra)


def _say_plan(made: LoweringPlan, as_json: bool) -> None:
    """Prints a plan."""
    from neurokit.render import show
    from neurokit.render.lowering import lowering

    if as_json:
        print_json(made.to_json())
        return
    show(lowering(made))
    print_next(without("--dry-run"))


# What is said at the end of what the manifest holds.
_SAID = ("accuracy", "against_float", "quantisation", "microcontroller")


def _fine_tunes(target: str) -> bool:
    from neurokit.target import TARGETS, FineTunes

    return isinstance(TARGETS.get(target), FineTunes)


def _calibrated(target: str) -> bool:
    from neurokit.target import TARGETS

    return bool(TARGETS.get(target).info.calibrated)


def parse_options(entries: list[str]) -> dict[str, Any]:
    """Reads `KEY=VALUE` entries; a value is JSON where it is valid JSON, and text otherwise.

    Raises:
        InputError: If an entry has no "=", no proper name, or comes twice.
    """
    from neurokit.transforms.transform import json_or_text

    options: dict[str, Any] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key.isidentifier() or key in options:
            raise InputError(f"--option is {entry!r}", expected="KEY=VALUE, each key once", fix="write --option key=1")
        options[key] = json_or_text(value)
    return options


def _refuse_selection(spec: Any, options: dict[str, Any]) -> None:
    """Refuses a form of selected keys that the model cannot have, before it is captured."""
    from neurokit.errors import UnsupportedError

    asked = options.get("attention")
    if getattr(spec, "sparse", None) is None or asked not in ("masked", "gathered"):
        return
    if reasons := list(spec.sparse.obstacles(asked)):
        raise UnsupportedError(f"model {spec.name!r} has no graph with attention={asked}", reasons)


def _refuse_ports(spec: Any, target: str, numerics: Numerics) -> None:
    """Refuses a model whose ports the target or the numerics do not take, before the minutes of capturing it."""
    from neurokit.spec import ModelSpec
    from neurokit.target import check_ports

    if not isinstance(spec, ModelSpec):  # only a specification states its ports
        return
    check_ports(spec, target)
    if numerics is Numerics.exact:
        from neurokit.exact import check_spec

        check_spec(spec)


def _changes(transforms: list[str], random: str) -> list[Any]:
    """Returns the transforms that were asked for, and that of random draws."""
    from neurokit.pipeline import with_random

    return with_random(transforms, random)


def _refuse_request(
    target: str, numerics: Numerics, flat: bool, extra: dict[str, Any], transforms: list[Any], dry_run: bool
) -> None:
    """Refuses options that the target does not have, libraries that are missing for them, and a plan it has not."""
    from neurokit.target import LowerOptions, check_request
    from neurokit.transforms.transform import resolve

    exact = any(resolve(step)[0].info.name == "exact" for step in transforms)
    if dry_run:
        from neurokit.plans import planning

        planning(target)
    options = LowerOptions("exact" if exact else numerics.value, flat=flat, extra=dict(extra), dry_run=dry_run)
    check_request(target, options)


def _refuse_early(target: str, out: Path, force: bool, transforms: list[Any]) -> None:
    """Refuses an unknown target or transform or an unusable folder before the minutes that loading can take."""
    from neurokit.artifact import check_out
    from neurokit.target import TARGETS
    from neurokit.transforms.transform import resolve

    TARGETS.get(target)
    for step in transforms:
        resolve(step)
    check_out(out, force=force)
