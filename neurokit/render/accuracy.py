"""What lowering did to accuracy, and what a microcontroller needs, as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

from neurokit.reports import ParityReport
from neurokit.tasks.scoring import shown


def accuracy(said: Mapping[str, Any]) -> list[RenderableType]:
    """Returns lines on quantisation and on accuracy before and after, as far as a manifest's target_info has them."""
    parts: list[RenderableType] = []
    if "quantisation" in said:
        how = said["quantisation"]
        biases = "float" if how["device"] == "tensorrt" else "int32"
        parts.append(
            f"{how['activations']} activations; weights {how['weights']}; biases {biases}; calibrated on "
            f"{how['calibration_samples']} samples of {how['calibrated_on']} ({how['method']})"
        )
        parts += [*_layers(how), *_fine_tuning(how.get("fine_tuning"))]
        parts += [f"[red]warning: {escape(line)}[/]" for line in how.get("warnings", ())]
    if "against_float" in said:
        found = said["against_float"]
        top1 = "" if found["top1_agreement"] is None else f", top-1 agreement {found['top1_agreement']:.2%}"
        error = f"{found['output_relative_l2']:.2g}"
        spikes = ""
        if found.get("spikes_compared"):
            spikes = f", {found['spikes_differ']:,} of {found['spikes_compared']:,} spikes differ"
        parts.append(
            f"against float, {found['samples']} samples of {found['data']}: output error {error}{top1}{spikes}"
        )
    if "accuracy" in said:
        found = said["accuracy"]
        where = escape(f"{found['samples']:,} samples of {found['data'] or 'given data'}")
        name = found.get("headline", "accuracy")
        before, after = (shown(found[key], found.get("share", name != "perplexity")) for key in ("before", "after"))
        same = "" if found["agreement"] is None else f"; the same answer for {found['agreement']:.2%}"
        parts.append(f"{name} on {where}: {before} before, {after} after{same}")
    board = said.get("microcontroller") or {}
    if "flash_bytes" in board:
        parts.append(f"on a {board['cpu']}: {board['flash_bytes']:,} B of flash, {board['ram_bytes']:,} B of RAM")
    elif "error" in board:
        parts.append(f"not linked for {board['cpu']}: {escape(board['error'])}")
    return parts


def _fine_tuning(said: Mapping[str, Any] | None) -> list[RenderableType]:
    """Returns a line on quantisation-aware fine-tuning."""
    if said is None:
        return []
    score = {name: f"{said[name]:.2%}" for name in ("float", "before", "after")}
    end = "" if said["taken"] else ": it is left out"
    return [
        f"fine-tuned with the roundings of {said['layers']} layers for {said['epochs']} epochs on {said['samples']:,} "
        f"samples; {said['metric']} there: float {score['float']}, int8 {score['before']} before and {score['after']} "
        f"after{end}"
    ]


def _layers(how: Mapping[str, Any]) -> list[RenderableType]:
    """Returns lines on what single layers cost in 8 bits, and which stay in float."""
    parts: list[RenderableType] = []
    dearest = how.get("costs", [])[:5]
    if dearest:
        each = ", ".join(f"{escape(row['layer'])} {row['output_relative_l2']:.2g}" for row in dearest)
        parts.append(f"layers that cost most in 8 bits, each alone (output error): {each}")
    kept = how.get("kept", [])
    if kept:
        names = ", ".join(escape(name) for name in kept[:8]) + (", ..." if len(kept) > 8 else "")
        parts.append(f"in float: {len(kept)} of {how['layers']} layers: {names}")
    if "sizes" in how:
        each = "; ".join(
            f"{name} {row['bytes']:,} B, {row['milliseconds']:.3g} ms" for name, row in how["sizes"].items()
        )
        parts.append(f"{each} (a batch, fastest of a few runs here)")
    return [*parts, *_times(how)]


def _times(how: Mapping[str, Any]) -> list[RenderableType]:
    """Returns lines on where the time of an int8 file goes beside the float file's."""
    found = how.get("layer_times")
    if not found:
        return []
    rows = ", ".join(
        f"{escape(row['layer'])} {_ms(row['float_ms'])} -> {_ms(row['int8_ms'])} ({row['kernel']})"
        for row in found["layers"][:5]
    )
    return [
        f"kernels of a batch on one thread: float {found['float_ms']:.3g} ms, now {found['int8_ms']:.3g} ms "
        f"({found['float_ms'] / found['int8_ms']:.2f} times as fast), {found['rounding_ms']:.3g} of them to quantise "
        "and dequantise",
        f"slowest layers in 8 bits, ms: {rows}",
    ]


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"


def ways(report: ParityReport) -> list[RenderableType]:
    """Returns a line on every way that an artifact was run in, where verification was thorough."""
    if not report.ways:
        return []
    flips, decisions = sum(way.flips for way in report.ways), sum(way.decisions for way in report.ways)
    equal, worst = sum(way.outputs_equal for way in report.ways), max(way.output_error for way in report.ways)
    batches = " and ".join(str(size) for size in sorted({way.batch for way in report.ways}))
    said = f"{len(report.ways)} ways to run it (levels 0 to 3, 1 and 2 threads, batch {batches}): "
    said += f"{flips:,} of {decisions:,} spike decisions flipped, " if decisions else ""
    return [said + f"outputs equal in {equal}, largest output error {worst:.2g}"]
