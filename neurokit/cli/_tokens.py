"""`neurokit energy LM --tokens N`: the part of the energy command that counts a token by its equations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.cli._common import build_folder, print_json, print_next, progress, stdout_is_for_json
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
    changed = [word for each in transforms or () for word in ("--transform", each)]
    print_next(["export", model, *changed, "--target", "onnx-step", "--out", build_folder(model, "onnx-step")])


def check_text(model: str, tokens: int, out: Path | None, as_json: bool) -> int:
    """Runs a text of a spiking language model in torch and from events alone, and prints what differs.

    Args:
        model: As on the command line.
        tokens: Tokens of the text, drawn at random.
        out: Where the answer goes as JSON, or None.
        as_json: Whether standard output is JSON.

    Returns:
        1 if a spike, a count or a logit differs, else 0.

    Raises:
        InputError: If it is no language model of spikes, or cannot have so many tokens.
    """
    import json

    import numpy as np

    from neurokit.hw_sim.engine.text import differing, run_text
    from neurokit.hw_sim.trace.spiking_text import spikes_of
    from neurokit.loading import load

    spec = load(model)
    if spec.spiking_text is None:
        raise InputError(
            f"{model!r} is no language model of spikes", expected="spiking_tnl", fix="leave --check-events out"
        )
    longest = spec.task.settings.get("longest", tokens) if spec.task else tokens
    if not 1 <= tokens <= longest:
        raise InputError(f"{tokens} tokens of {model!r}", expected=f"a whole number from 1 to {longest:,}")
    with stdout_is_for_json(as_json), progress(f"run {tokens} tokens of {model} twice"):
        module = spec.build()
        text = spec.spiking_text(module)
        ids = np.random.default_rng(0).integers(0, len(text.embed), tokens)
        run = run_text(text, ids.tolist())
        spikes, counts, logits = spikes_of(module, ids)
    wrong = {name: count for name, count in differing(run, spikes).items() if count}
    states = sum(int((ours != theirs).sum()) for ours, theirs in zip(run.counts, counts, strict=True))
    answer = {
        "model": spec.name,
        "tokens": tokens,
        "spikes_compared": sum(raster.size for raster in spikes.values()),
        "spikes_differing": sum(wrong.values()),
        "states_differing": states,
        "logits_differing": int((run.logits / text.grid != logits).sum()),
        "events": run.synaptic_events,
    }
    if out:
        out.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json(answer)
    else:
        for name, value in answer.items():
            print(f"{name.replace('_', ' ')}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    return int(any(answer[name] for name in ("spikes_differing", "states_differing", "logits_differing")))
