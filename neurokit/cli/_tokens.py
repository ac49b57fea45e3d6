"""`neurokit energy LM --tokens N`: the part of the energy command that counts a token by its equations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.cli._common import print_json, print_next, progress, stdout_is_for_json
from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.hw_sim.chips.profile import HardwareProfile


def count_tokens(
    model: str,
    tokens: int,
    chips: Sequence[HardwareProfile],
    out: Path | None,
    as_json: bool,
    others: dict[str, Any],
    transforms: Sequence[str] | None = None,
) -> None:
    """Counts, prices and prints.

    Args:
        model: As on the command line.
        tokens: Tokens of the text.
        chips: Chips whose prices are asked.
        out: Where the report goes as JSON, or None.
        as_json: Whether standard output is JSON.
        others: Options of the command that have no meaning here, by name.
        transforms: What the model goes through first.

    Raises:
        InputError: If one of them was given.
    """
    from neurokit import render
    from neurokit.hw_sim.tokens import token_energy
    from neurokit.loading import load
    from neurokit.render.tokens import tokens as shown

    given = [name for name, value in others.items() if value]
    if given:
        raise InputError(
            f"{given[0]} is given with --tokens", expected="--chip, --price, --transform, --out and --json"
        )
    with stdout_is_for_json(as_json), progress(f"count {model}"):
        spec = load(model)
        if transforms:
            from neurokit.transforms import transform

            spec = transform(spec, transforms)
        report = token_energy(spec, tokens, chips)
        if out:
            report.save_json(out)
    if as_json:
        print_json(report.to_json())
        return
    render.show(shown(report))
    print_next(f"neurokit export {model} --target onnx-step")
