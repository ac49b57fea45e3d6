"""`neurokit attribute` and `neurokit pause`: which tokens an answer hangs on, where pauses go, what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, build_folder, print_json, print_next, progress, stdout_is_for_json
from neurokit.cli.run import parse_tokens
from neurokit.errors import InputError


def attribute(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A language model: zoo name, checkpoint, file.py:f.")],
    prompt_ids: Annotated[str, typer.Option("--prompt-ids", metavar="N,N,...", help="Tokens of the prompt.")],
    target: Annotated[
        int | None, typer.Option("--target", help="Token whose logit is attributed; default the most likely.")
    ] = None,
    baseline: Annotated[int, typer.Option("--baseline", help="Token whose embedding is the baseline.")] = 0,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Points of the path; default doubles until 1 % is complete.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Attribute the logit of the next token to the tokens of a prompt, by Integrated Gradients."""
    ids = parse_tokens(prompt_ids, "--prompt-ids")
    with stdout_is_for_json(as_json):
        from neurokit.loading import load
        from neurokit.pause.attribution import attribute as attributed

        with progress(f"attribute {model}"):
            found = attributed(load(model), ids, target=target, baseline=baseline, steps=steps)
    if as_json:
        print_json({"model": model, **found.to_json()})
        return
    for token, value in zip(found.ids, found.tokens, strict=True):
        typer.echo(f"{token}: {value:.6g}")
    typer.echo(
        f"logit of {found.target}: {found.value:.6g}, of the baseline {found.baseline_value:.6g}; "
        f"gap {found.gap:.2%} after {found.steps} steps"
    )


def pause(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="A text that gets pauses.")] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", help="TOML file of rules in the place of the default.")
    ] = None,
    cost: Annotated[
        str | None, typer.Option("--cost", metavar="MODEL", help="Say what a pause costs this language model.")
    ] = None,
    before: Annotated[int, typer.Option("--before", help="With --cost: tokens in front of the pause.")] = 32,
    artifact: Annotated[
        Path | None, typer.Option("--artifact", metavar="DIR", help="With --cost: step form whose step is timed.")
    ] = None,
    chip: Annotated[list[str] | None, typer.Option("--chip", help="With --cost: chip with prices; repeatable.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put pauses at the ends of a text's clauses, and say what one costs."""
    if text is None and cost is None:
        raise InputError("there is nothing to do", expected="a text, or --cost MODEL", fix='neurokit pause "a text"')
    if cost is None and (artifact is not None or chip):
        raise InputError("--artifact and --chip are given without --cost", expected="--cost MODEL with them")
    said: dict[str, object] = {}
    with stdout_is_for_json(as_json):
        from neurokit.pause.placement import place_pauses, read_rules

        if text is not None:
            placed = place_pauses(text, None if rules is None else read_rules(rules))
            said |= {"text": placed.marked, "pauses": len(placed.places), "places": list(placed.places)}
        if cost is not None:
            from neurokit.hw_sim.chips.file import load_chip
            from neurokit.loading import load
            from neurokit.pause.cost import pause_cost

            chips = [load_chip(name) for name in chip or ["cmos45"]]
            with progress(f"price a pause of {cost}"):
                price = pause_cost(load(cost), before, chips, artifact)
            said["cost"] = price.to_json()
    if as_json:
        print_json(said)
        return
    if text is not None:
        typer.echo(said["text"])
    if cost is not None:
        for name, energy in price.joules.items():
            typer.echo(f"one pause behind {before} tokens on {name}: {energy.text()} ({energy.kind}, a lower bound)")
        if price.time is not None:
            typer.echo(f"one pause behind {before} tokens here: {price.time.text()} ({price.time.kind})")
        folder = build_folder(cost, "pause")
        print_next(["export", cost, "--transform", "pause", "--target", "onnx-step", "--out", folder])
