"""The record of `puppets_spiking.py`: one page of tables and one plot of accuracy and joules against T."""

from __future__ import annotations

import itertools
import json
import math
from html import escape
from pathlib import Path
from typing import Any

from neurokit.page.plots import Axis, axis, label

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 760.0, 330.0, 56.0, 200.0, 34.0, 36.0
COLOURS = ("#1b6ca8", "#c1440e", "#3a7d44", "#7b4b94", "#8a6d00", "#555555")
_WAYS = {
    "ann2snn": "ann2snn, 99.9 %",
    "ann2snn channels": "ann2snn, a channel",
    "qcfs": "qcfs, calibrated",
}
Curve = tuple[str, dict[int, float]]


def page(found: dict[str, Any], weights: Path) -> str:
    """Returns the record as Markdown."""
    parts = [
        "# Spiking puppets: accuracy, joules and where int8 is overtaken",
        "By `python benchmarks/puppets_spiking.py`; weights by `benchmarks/puppets_training.py`. MobileNetV2 of width "
        "0.35 on 64 x 64 synthetic silhouettes (15 x 200 to train, 15 x 50 to test, disjoint poses). Accuracies are "
        "measured through the artifact and ONNX Runtime where that is said; joules are simulated.",
        _training(weights),
        _accuracy(found),
        _joules(found),
        _wins(found),
        _forms(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _training(weights: Path) -> str:
    path = weights / "training.json"
    files = [path] if path.exists() else sorted(weights.glob("training-*.json"))
    read = [json.loads(file.read_text()) for file in files]
    rows = read[0]["parts"] if path.exists() else read
    if not rows:
        return ""
    device = read[0]["device"] if path.exists() else "unknown"
    lines = [
        f"## Training ({device})",
        "| network | T | test pictures, float | pictures to choose by | s | |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: str(row["network"])):
        chosen = f"{row['choice']:.2%}" if "choice" in row else "-"
        how = "; ".join(note for note in row.get("notes", ()) if note.startswith("trained"))
        cells = (
            row["network"],
            row["time_steps"] or "-",
            f"{row['accuracy']:.2%}",
            chosen,
            f"{row['seconds']:.0f}",
            how,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _accuracy(found: dict[str, Any]) -> str:
    lines = [
        "## Accuracy",
        "| form | test pictures | other renderer | lost to float, points | verdict |",
        "|---|---|---|---|---|",
    ]
    base = found.get("float", {}).get("float", {}).get("accuracy")
    for name, said in (*found.get("float", {}).items(), *_named(found)):
        lost = "-" if base is None else f"{100 * (base - said['accuracy']):.2f}"
        lines.append(f"| {name} | {said['accuracy']:.2%} | {said['transfer']:.2%} | {lost} | {said['verdict']} |")
    if "untrained" in found:
        ways = {key: value for key, value in found["untrained"].items() if isinstance(value, dict)}
        steps = sorted({int(step) for row in ways.values() for step in row})
        lines += ["", f"Without training, {found['untrained']['pictures']} pictures, PyTorch:", ""]
        lines += ["| conversion | " + " | ".join(f"T={step}" for step in steps) + " |", "|---" * (1 + len(steps)) + "|"]
        for name, row in ways.items():
            shares = " | ".join(f"{row[str(step)]:.1%}" if str(step) in row else "-" for step in steps)
            lines.append(f"| {_WAYS[name]} | {shares} |")
    return "\n".join(lines)


def _named(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    rows = [(f"exact spiking, T={steps}, {_how(said)}", said) for steps, said in _by_steps(found).items()]
    for name, said in found.get("direct", {}).items():
        rows.append((f"{name}, exact, T={said['time_steps']}, trained as it is", said))
    return rows


def _by_steps(found: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {steps: found["trained"][str(steps)] for steps in sorted(map(int, found.get("trained", {})))}


def _how(said: dict[str, Any]) -> str:
    return "trained" if said["trained"] else "calibrated, not trained"


def _joules(found: dict[str, Any]) -> str:
    rows = _by_steps(found)
    if not rows:
        return ""
    first = next(iter(rows.values()))
    device, chips = first["device"], list(first["chips"])
    lines = [
        "## Joules a picture (mean of 15; simulated)",
        f"int8 on {device['name']}: {label(device['joules'][0], 'J')} (one dense pass).",
        "",
        "| T | " + " | ".join(chips) + " | spikes a decision | synaptic events | graded events |",
        "|---" * (len(chips) + 4) + "|",
    ]
    for steps, said in rows.items():
        cells = [_chip(said["chips"][chip]) for chip in chips]
        totals = said["totals"]
        lines.append(
            f"| {steps} | {' | '.join(cells)} | {said['rates']:.3f} | {totals.get('synaptic_events', 0):,} | "
            f"{totals.get('graded_events', 0):,} |"
        )
    lines += ["", *[f"- {line}" for line in crossings(found)]]
    shown = 4 if 4 in rows else min(rows)
    left_out = [f"{chip}: {line}" for chip, c in rows[shown]["chips"].items() for line in c["unpriced"]]
    return "\n".join([*lines, *[f"- not priced at T={shown}, {line}" for line in left_out]])


def _chip(said: dict[str, Any]) -> str:
    if said["joules"] is None:
        return "refused"
    value, low, high = said["joules"]
    least = "at least " if said["status"] == "lower-bound" else ""
    fits = "" if said["fits"] else ", does not fit"
    return f"{least}{label(value, 'J')} [{label(low, 'J')}, {label(high, 'J')}]{fits}"


def _wins(found: dict[str, Any]) -> str:
    """Returns one sentence and one table on where spikes cost less than int8 on the microcontroller, and where more.

    A lower bound above int8's joules loses for certain. One below it wins only if what has no price there costs less
    than the rest; the table says how much that leaves for each graded event.
    """
    near = {f"T={steps}": said for steps, said in _by_steps(found).items() if said["accuracy"] >= _least(found)}
    rows = dict(list(near.items())[:2])
    direct = found.get("direct", {}).items()
    rows |= {f"{n}, T={said['time_steps']}": said for n, said in direct if said["accuracy"] >= _least(found)}
    if not near:
        return ""
    head = "| network | test pictures | chip | joules with a price, of int8's | a graded event may cost | |"
    lines, verdicts = [head, "|---|---|---|---|---|---|"], dict[str, list[str]]()
    bar = next(iter(near.values()))["device"]["joules"][0]  # of the int8 network, for every spiking one
    for name, said in rows.items():
        for chip, priced in said["chips"].items():
            if priced["joules"] is None:
                continue
            value, graded = priced["joules"][0], said["totals"].get("graded_events", 0)
            free = bool(graded) and any("graded_event" in line for line in priced["unpriced"])
            left = label((bar - value) / graded, "J") if free and value < bar else "-"
            verdict = (
                "loses" if value >= bar else "is undecided" if priced["unpriced"] or not priced["fits"] else "wins"
            )
            verdicts.setdefault(verdict, []).append(f"{chip} ({name})")
            cells = (name, f"{said['accuracy']:.2%}", chip, f"{value / bar:.2g}", left, verdict)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    said = "; ".join(f"{verdict} on {', '.join(places)}" for verdict, places in sorted(verdicts.items(), reverse=True))
    sentence = (
        f"Against int8 on {next(iter(rows.values()))['device']['name']} spiking {said}. Undecided: cheaper by all that "
        f"has a price there, and something has none. Accuracy is within 2 points of float at {', '.join(near)}."
    )
    return "\n".join(["## Where spiking wins and where it loses", sentence, "", *lines])


def _least(found: dict[str, Any]) -> float:
    """Returns the accuracy that is 2 points below the float network's."""
    base = found.get("float", {}).get("float", {}).get("accuracy")
    return math.inf if base is None else float(base) - 0.02 - 1e-9


def crossings(found: dict[str, Any]) -> list[str]:
    """Returns, for each chip, up to which T a picture costs less than int8 on the microcontroller."""
    rows = _by_steps(found)
    if not rows:
        return []
    bar = next(iter(rows.values()))["device"]["joules"][0]
    int8 = found.get("float", {}).get("int8", {}).get("accuracy")
    lines = []
    for chip in next(iter(rows.values()))["chips"]:
        curve = {steps: said["chips"][chip]["joules"] for steps, said in rows.items()}
        known = {steps: value[0] for steps, value in curve.items() if value is not None}
        said = crossing(known, bar)
        least = any(row["chips"][chip]["status"] == "lower-bound" for row in rows.values())
        if least and " below T = " in said:  # of lower bounds only what lies above is certain
            said = f"spikes cost more from{said.partition('below')[2].partition(',')[0]} on; below it is not decided"
        elif least and "less" in said:
            said = (
                f"not decided: what has a price there costs {min(known.values()) / bar:.2g} of int8's joules at least"
            )
        lines.append(f"{chip}: {said}")
    if int8 is not None:
        near = [steps for steps, said in rows.items() if said["accuracy"] >= int8 - 0.02]
        reached = f"at T = {', '.join(map(str, near))}" if near else "at no T measured"
        lines.append(f"within 2 points of int8's accuracy ({int8:.2%}) {reached}")
    return lines


def crossing(joules: dict[int, float], bar: float) -> str:
    """Returns where joules against T cross a bar, between two T on a straight line in logarithms."""
    steps = sorted(joules)
    if not steps:
        return "no joules"
    if joules[steps[0]] >= bar:
        return f"spikes cost more at every T measured ({joules[steps[0]] / bar:.2g} of int8's joules at T={steps[0]})"
    for before, after in itertools.pairwise(steps):
        if joules[after] >= bar:
            share = math.log(bar / joules[before]) / math.log(joules[after] / joules[before])
            at = math.exp(math.log(before) + share * math.log(after / before))
            return f"spikes cost less below T = {at:.1f}, more above"
    return f"spikes cost less up to T={steps[-1]} ({joules[steps[-1]] / bar:.2g} of int8's joules there)"


def _forms(found: dict[str, Any]) -> str:
    if "forms" not in found:
        return ""
    said = dict(found["forms"])
    events, nir, between = said.pop("events"), said.pop("nir"), said.pop("between")
    lines = ["## The same spikes (exact form, T=4)", "| form | verdict | spikes | differ |", "|---|---|---|---|"]
    lines += [f"| {f} | {r['verdict']} | {r['spikes_compared']:,} | {r['spikes_flipped']} |" for f, r in said.items()]
    lines.append(f"| events alone, 5 pictures | | {events['decisions']:,} | {events['differing']} |")
    reasons = nir if isinstance(nir, str) else "; ".join(nir)
    return "\n".join([*lines, "", f"The three ONNX forms with each other: {json.dumps(between)}.", f"NIR: {reasons}."])


def plot(found: dict[str, Any], path: Path) -> None:
    """Writes accuracy and joules against T as one picture."""
    rows = _by_steps(found)
    accuracy: list[Curve] = [("exact spiking", {steps: said["accuracy"] for steps, said in rows.items()})]
    for name, row in found.get("untrained", {}).items():
        if isinstance(row, dict):
            accuracy.append((_WAYS[name], {int(step): value for step, value in row.items()}))
    flat = [(name, said["accuracy"]) for name, said in found.get("float", {}).items()]
    body = _panel(0.0, "test accuracy, %", accuracy, flat, "%") if flat or rows else ""
    if rows:
        first = next(iter(rows.values()))
        joules: list[Curve] = [
            (chip, {s: r["chips"][chip]["joules"][0] for s, r in rows.items() if r["chips"][chip]["joules"]})
            for chip in first["chips"]
        ]
        device = first["device"]
        body += _panel(HIGH, "joules a picture", joules, [(f"int8, {device['name']}", device["joules"][0])], "J")
    style = "text{font:12px sans-serif;fill:#222}.g{stroke:#ddd}.b{stroke:#222;stroke-dasharray:5 4}"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE:g} {2 * HIGH:g}" role="img">'
        f"<title>Accuracy and joules against time steps</title><style>{style}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n'
    )


def _panel(top: float, title: str, curves: list[Curve], flat: list[tuple[str, float]], unit: str) -> str:
    curves = [(name, points) for name, points in curves if points]
    values = [value for _, points in curves for value in points.values()] + [value for _, value in flat]
    steps = sorted({step for _, points in curves for step in points})
    x = axis([float(step) for step in (*steps, 1, 2)], LEFT, WIDE - RIGHT)
    y = axis(values, top + HIGH - BOTTOM, top + TOP, log=unit != "%")
    body = [f'<text x="{LEFT}" y="{top + 20}" font-weight="bold">{escape(title)}</text>']
    body += [_grid(y.at(tick), label(tick, unit)) for tick in y.ticks()]
    for step in steps:
        body.append(f'<text x="{x.at(step):.1f}" y="{top + HIGH - 14}" text-anchor="middle">T={step}</text>')
    for number, (name, points) in enumerate(curves):
        body.append(_curve(name, points, x, y, COLOURS[number % len(COLOURS)], top + TOP + 18 * number))
    for place, (name, value) in enumerate(flat):
        at = y.at(value)
        body.append(f'<line class="b" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        words = f"{escape(name)}: {label(value, unit)}{'%' if unit == '%' else ''}"
        body.append(f'<text x="{WIDE - RIGHT + 8}" y="{top + HIGH - BOTTOM - 18 * place:.1f}">- - {words}</text>')
    return "".join(body)


def _grid(at: float, words: str) -> str:
    return (
        f'<line class="g" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(words)}</text>'
    )


def _curve(name: str, points: dict[int, float], x: Axis, y: Axis, colour: str, key: float) -> str:
    at = [(x.at(step), y.at(points[step])) for step in sorted(points)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in at)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'
        f'<text x="{WIDE - RIGHT + 8}" y="{key + 8:.1f}" style="fill:{colour}">{escape(name)}</text>'
    )
