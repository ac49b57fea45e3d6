"""Reports and listings for people: the only place that formats them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from neurokit.doctor import Check
from neurokit.render.accuracy import accuracy as accuracy
from neurokit.render.accuracy import ways
from neurokit.render.fidelity import fidelity as fidelity
from neurokit.render.tables import plain_table
from neurokit.render.training import training as training
from neurokit.reports import LayerParity, ParityReport

_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}
_VERDICT_COLOURS = {"exact": "green", "benign rounding": "green", "within tolerance": "green", "failed": "red"}
_SHOWN_LAYERS = 20
_UNSEEN = 8  # lines on what no check exercised


def show(*parts: RenderableType) -> None:
    """Prints renderables on standard output; empty ones are left out."""
    console = Console(highlight=False)
    for part in parts:
        if part != "":
            console.print(part)


def parity(report: ParityReport) -> RenderableType:
    """Returns a table of the layers that differ (all of them if few), and the verdict under it."""
    parts: list[RenderableType] = []
    if report.layers:
        parts.append(_layers_table(report))
    facts = [
        f"output error {_number(report.output_error_free)} (allowed {_number(report.output_tolerance)})",
        *([f"forced {_number(report.output_error_forced)}"] if report.output_error_forced is not None else []),
        *([f"top-1 agreement {report.top1_agreement:.2%}"] if report.top1_agreement is not None else []),
        *(
            [f"{report.tokens_compared:,} tokens compared, {report.tokens_undecided:,} undecided"]
            if report.tokens_compared
            else []
        ),
        *(
            [f"{report.spikes_flipped:,} of {report.spikes_compared:,} spike decisions flipped"]
            if report.spikes_compared
            else []
        ),
        *_covering(report),
    ]
    parts.append(", ".join(facts))
    if report.first_divergence:
        t, layer, index = report.first_divergence
        parts.append(escape(f"first divergence: time step {t}, layer {layer}, index {index}"))
    if report.simulators:
        parts.append(_simulators_table(report))
    parts += ways(report)
    parts += [escape(f"note: {note}") for note in report.notes]
    parts += [escape(f"not exercised: {line}") for line in report.unseen[:_UNSEEN]]
    if len(report.unseen) > _UNSEEN:
        parts.append(f"not exercised: {len(report.unseen) - _UNSEEN} more (--json lists them)")
    colour = _VERDICT_COLOURS[report.verdict]
    subject = escape(f"{report.model} on {report.target} ({report.form})")
    said = escape(f": {report.meaning}") if report.meaning else ""
    parts.append(f"[{colour} bold]{report.verdict}[/]: {subject}{said}")
    parts += [f"[red bold]warning:[/] {escape(report.warning)}"] if report.warning else []
    parts += [escape(f"proof: {report.proof}")] if report.proof else []
    return Group(*parts)


def _simulators_table(report: ParityReport) -> Table:
    table = plain_table("the file in", "version", "neurons", "spikes compared", "differ", "remark")
    for row in report.simulators:
        ran = row.status == "ran"
        mark = "[red]" if row.demanded and row.spikes_differ else ""
        remark = row.remark if ran else f"{row.status}: {row.remark}"
        table.add_row(
            row.simulator,
            row.version,
            f"{row.neurons:,}" if ran else "",
            f"{row.spikes_compared:,}" if ran else "",
            f"{mark}{row.spikes_differ:,}" if ran else "",
            escape(remark),
        )
    return table


def _covering(report: ParityReport) -> list[str]:
    found = [layer.covering_error for layer in report.layers if layer.covering_error is not None]
    return [f"input currents under random spikes off by {max(found):.2g} of their bound"] if found else []


def demo(result: Mapping[str, Any]) -> list[RenderableType]:
    """Returns what the demo found: the forms of both networks, accuracy side by side, the stream."""
    forms = plain_table("form", "verdict", "spikes compared", "flipped", "nodes", "size", "held-out accuracy")
    forms.add_row("torch", "reference", "", "", "", "", f"{result['accuracy']['torch']:.2%}")
    for row in result["forms"]:
        forms.add_row(
            row["target"],
            f"[{_VERDICT_COLOURS[row['verdict']]}]{row['verdict']}[/]",
            f"{row['spikes_compared']:,}",
            f"{row['spikes_flipped']:,}",
            str(row["nodes"]),
            f"{row['bytes'] / 1024:.0f} KiB",
            f"{result['accuracy'][row['target']]:.2%}",
        )
    training, stream = result["training"], result["stream"]
    micro = ", ".join(f"{seconds * 1e6:.0f}" for seconds in stream["step_s"])
    return [
        f"spiking_cnn trained on {training['train_images']:,} digits in {training['seconds']:.1f} s; "
        f"{training['held_out_accuracy']:.2%} of {training['held_out_images']} held-out digits right",
        forms,
        pairs(result["agreement"]),
        f"streamed digit {stream['label']}: answer after each step {stream['answer_after_each_step']}, "
        f"{micro} µs a step (measured, 1 thread)",
        *_demo_puppets(result["puppets"]),
        f"{result['seconds']:.0f} s in all; artifacts in {escape(result['folder'])}",
    ]


def _demo_puppets(result: Mapping[str, Any]) -> list[RenderableType]:
    """Returns what the demo found of the puppets."""
    table = plain_table("form", "numerics", "verdict", "size", "held-out accuracy")
    for row in result["forms"]:
        table.add_row(
            row["target"],
            row["numerics"],
            f"[{_VERDICT_COLOURS[row['verdict']]}]{row['verdict']}[/]",
            f"{row['bytes'] / 1024:.0f} KiB",
            f"{row['accuracy']:.2%}",
        )
    training = result["training"]
    said = (
        f"{training['model']} trained on {training['train_images']:,} synthetic hand-shadow puppets in "
        f"{training['seconds']:.0f} s ({training['epochs']} epochs); held out are {training['held_out_images']}"
    )
    stream = result["stream"]
    spikes = ", ".join(f"{count:,}" for count in stream["spikes"])
    answers = ", ".join(stream["answer_after_each_step"])
    shown = (
        f"{stream['model']} (trained beforehand), a {stream['label']} frame by frame: {answers}; "
        f"spikes of {stream['neurons']:,} neurons a frame: {spikes}"
    )
    return [said, table, shown]


def pairs(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Returns a table of artifacts that ran freely on the same input, pair by pair, or "" for none."""
    if not found:
        return ""
    table = plain_table("pair", "decisions", "spikes differ", "output error")
    for pair in found:
        table.add_row(
            f"{pair['a']} and {pair['b']}",
            f"{pair['spikes_compared']:,}",
            f"{pair['spikes_differ']:,}",
            _number(pair["output_error"]),
        )
    return table


def rows(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Returns a table of names and summaries."""
    table = plain_table("name", "what it is")
    for entry in entries:
        table.add_row(escape(str(entry["name"])), escape(str(entry.get("summary") or entry.get("description", ""))))
    return table


def models(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Returns the listing of models."""
    table = plain_table("model", "T", "input", "description")
    for row in rows:
        shapes = "; ".join("x".join(str(size) for size in entry["shape"]) for entry in row["inputs"])
        steps = "" if row["time_steps"] is None else str(row["time_steps"])
        table.add_row(row["name"], steps, shapes, escape(row["description"]))
    return table


def targets(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Returns the listing of targets."""
    table = plain_table("target", "streams", "on this machine", "summary")
    for row in rows:
        state = f"[yellow]lacks {', '.join(row['missing'])}[/]: {escape(row['install'])}" if row["missing"] else "ready"
        lacking = {option: libraries for option, libraries in row["optional"].items() if libraries}
        state += "".join(f"; [yellow]{o} lacks {', '.join(names)}[/]" for o, names in lacking.items())
        table.add_row(row["name"], "yes" if row["streaming"] else "", state, escape(row["summary"]))
    return table


def broken(reasons: Mapping[str, str]) -> RenderableType:
    """Returns one line for each module that failed to load, or "" for none."""
    return "\n".join(f"[red]failed to load[/] {name}: {escape(reason)}" for name, reason in sorted(reasons.items()))


def checks(found: Sequence[Check]) -> RenderableType:
    """Returns the doctor's table, and under it the commands that install what is missing."""
    table = plain_table("", "state", "for", "detail")
    for check in found:
        colour = "red" if check.required and check.state != "ok" else _COLOURS[check.state]
        table.add_row(check.name, f"[{colour}]{check.state}[/]", check.purpose, escape(check.detail))
    advice = [escape(f"to have {check.name}: {check.install}") for check in found if check.install]
    return Group(table, *advice)


def _layers_table(report: ParityReport) -> Table:
    different = [layer for layer in report.layers if layer.flips_forced or layer.flips_free]
    shown = (
        report.layers if len(report.layers) <= _SHOWN_LAYERS else tuple(sorted(different, key=_badness)[:_SHOWN_LAYERS])
    )
    table = plain_table("layer", "neuron", "decisions", "rate", "flips forced", "worst margin", "bound", "flips free")
    for column in table.columns[2:]:
        column.justify = "right"
    for layer in shown:
        mark = "" if layer.explained else "[red]"
        table.add_row(
            layer.layer,
            layer.neuron,
            f"{layer.decisions:,}",
            f"{layer.spike_rate:.1%}",
            f"{mark}{layer.flips_forced:,}",
            f"{mark}{_number(layer.worst_margin)}",
            _number(layer.bound),
            f"{layer.flips_free:,} ({layer.flip_rate_free:.2%})",
        )
    if len(shown) < len(report.layers):
        table.caption = f"{len(shown)} of {len(report.layers)} spiking layers shown; {len(different)} differ somewhere"
    return table


def _badness(layer: LayerParity) -> tuple[bool, float]:
    return layer.explained, -(layer.worst_margin / layer.bound if layer.bound else layer.worst_margin)


def _number(value: float) -> str:
    return f"{value:.2g}"
