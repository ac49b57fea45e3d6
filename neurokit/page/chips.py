"""The chips' part of the page: each chip over T, against the same network without spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from neurokit.errors import NeurokitError
from neurokit.page.metrics import Metric
from neurokit.page.row import Row
from neurokit.quantity import Quantity

_NONE = "-"
_ANN = "ann-"
_RULES = {"float": "ann-fp32", "int8": "ann-int8"}  # by the numerics of a row


def sections(energies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns one section for each network, over all the T that it was simulated at.

    Args:
        energies: Energy reports as JSON objects.
    """
    networks: dict[str, list[Mapping[str, Any]]] = {}
    for energy in energies:
        networks.setdefault(str(energy["network"]), []).append(energy)
    return [_section(name, sorted(found, key=lambda e: e.get("time_steps") or 0)) for name, found in networks.items()]


def _section(network: str, energies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(chip["chip"] for energy in energies for chip in energy["chips"]))
    precisions = list(dict.fromkeys(entry["name"] for energy in energies for entry in _baselines(energy)))
    rules = [(energy.get("time_steps"), entry) for energy in energies for entry in energy.get("estimators", ())]
    return {
        "network": network,
        "precisions": [name.removeprefix(_ANN) for name in precisions],
        "rows": [
            _row(chip, energy, precisions)
            for name in names
            for energy in energies
            for chip in energy["chips"]
            if chip["chip"] == name
        ],
        "baselines": _unique((None, entry) for _, entry in rules if entry["name"].startswith(_ANN)),
        "estimators": _unique((steps, entry) for steps, entry in rules if not entry["name"].startswith(_ANN)),
        "verdicts": [
            (energy.get("time_steps"), energy["verdict"]["text"]) for energy in energies if energy.get("verdict")
        ],
        "sources": _sources(energies),
        "assumptions": _words(energies, "assumptions"),
        "uncounted": _words(energies, "uncounted"),
    }


def unspiking(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what networks that no chip was simulated for take by rules, as one table.

    Args:
        found: What `sections` returned.
    """
    priced = [part for part in found if part["baselines"] and not part["rows"] and not part["estimators"]]
    precisions = list(dict.fromkeys(entry["name"] for section in priced for entry in section["baselines"]))
    rules = {entry["name"]: entry for section in priced for entry in section["baselines"]}
    return {
        "precisions": [name.removeprefix(_ANN) for name in precisions],
        "networks": [
            (section["network"], [_total(section["baselines"], name) for name in precisions]) for section in priced
        ],
        "rules": [(name.removeprefix(_ANN), rule["title"], rule["source"]) for name, rule in rules.items()],
    }


def _total(entries: Sequence[Mapping[str, Any]], name: str) -> str:
    return next((str(entry["total"]) for entry in entries if entry["name"] == name), _NONE)


def with_energy(row: Row, energies: Sequence[Mapping[str, Any]]) -> Row:
    """Adds to a row without an energy what the rule of its precision gives a network without spikes."""
    rule = _RULES.get(row.numerics)
    if rule is None or "energy" in row.figures:
        return row
    for energy in energies:
        totals = {entry["name"]: entry["total"] for entry in _baselines(energy)}
        if energy["network"] == row.model and not energy.get("neurons", 1) and rule in totals:
            return replace(row, figures={**row.figures, "energy": Quantity(**totals[rule])})
    return row


def _baselines(energy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in energy.get("estimators", ()) if str(entry["name"]).startswith(_ANN)]


def _row(chip: Mapping[str, Any], energy: Mapping[str, Any], precisions: Sequence[str]) -> dict[str, Any]:
    totals = {entry["name"]: entry["total"] for entry in _baselines(energy)}
    kinds: list[str] = [Quantity(**chip["total"]).kind] if chip["total"] else []
    latency = Quantity(**chip["latency"]["inference"]) if chip.get("latency") else None
    kinds += [] if chip.get("fits", True) else ["does not fit: priced as if it did"]
    return {
        "title": chip["title"],
        "steps": energy.get("time_steps") or _NONE,
        "bits": _weight_bits(chip["chip"]),
        "kind": ", ".join(kinds),
        "total": Quantity(**chip["total"]).text() if chip["total"] else "refused: no price",
        "bound": "at least " if chip["total"] and chip.get("status") == "lower-bound" else "",
        "latency": latency.text() if latency else "unknown",
        "latency_kind": latency.kind if latency else "",
        "ratios": [_ratio(chip, totals.get(name)) for name in precisions],
    }


def _ratio(chip: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> str:
    if chip["total"] is None or baseline is None or not baseline["value"]:
        return _NONE
    bound = "at least " if chip.get("status") == "lower-bound" else ""
    return f"{bound}{chip['total']['value'] / baseline['value']:.3g} \u00d7"


def _weight_bits(name: str) -> str:
    """Returns the widths of a chip's weights; "" for a chip that is not known here."""
    from neurokit.hw_sim.chips.file import load_chip

    try:
        bits = load_chip(name).limits.weight_bits
    except NeurokitError:
        return _NONE
    if bits is None:
        return _NONE
    return f"{bits[0]} to {bits[1]} bits" if bits[0] != bits[1] else f"{bits[0]} bits"


def _unique(entries: Any) -> list[dict[str, Any]]:
    """Returns what each rule gives, once where it is the same for every T."""
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for steps, entry in entries:
        total = Quantity(**entry["total"])
        found.setdefault(
            (entry["name"], total.value),
            {
                "name": entry["name"],
                "title": entry["title"],
                "total": total.text(),
                "kind": total.kind,
                "steps": steps,
                "source": entry.get("source") or total.source,
            },
        )
    return list(found.values())


def _sources(energies: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], list[str]]]:
    """Returns every chip with the sources of its prices, and what was not priced, each line once."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for energy in energies:
        for chip in energy["chips"]:
            sources, unpriced = found.setdefault(str(chip["title"]), ([], []))
            sources += [line for line in chip.get("sources", ()) if line not in sources]
            steps = f"T={energy['time_steps']}: " if energy.get("time_steps") and len(energies) > 1 else ""
            unpriced += [f"{steps}{line}" for line in chip.get("unpriced", ())]
    return [(title, *lists) for title, lists in found.items() if any(lists)]


def _words(energies: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    return list(dict.fromkeys(str(line) for energy in energies for line in energy.get(name, ())))


def table_rows(energy: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    """Returns a row for each chip that was simulated; its metric is that of the same network where it was run."""
    found = []
    model, steps = str(energy["network"]), energy.get("time_steps")
    for chip in energy["chips"]:
        figures: dict[str, Quantity] = {}
        if chip["total"] is not None:
            figures["energy"] = Quantity(**chip["total"])
        if chip.get("latency"):
            figures["p50"] = Quantity(**chip["latency"]["inference"])
        scored = _metric_of(model, steps, rows)
        if scored is not None:
            figures[scored[0].name] = scored[1]
        remarks = {
            "lower-bound": ("the energy is a lower bound: some of its parts have no published price",),
            "refused": ("no energy: what the network needs has no published price",),
        }
        limits = () if chip.get("fits", True) else ("the network does not fit on this chip; priced as if it did",)
        found.append(
            Row(
                model,
                str(chip["title"]),
                numerics="",
                time_steps=steps,
                scenario="simulated",
                figures=figures,
                simulated=True,
                remarks=(*remarks.get(chip.get("status", ""), ()), *limits),
                machine=str(energy.get("tool", "")),
                metric=scored and scored[0],
            )
        )
    return found


def _metric_of(model: str, steps: Any, rows: Sequence[Row]) -> tuple[Metric, Quantity] | None:
    for row in rows:
        if row.model == model and row.time_steps == steps and row.metric is not None:
            known = row.figures[row.metric.name]
            return row.metric, replace(known, kind="assumed", source=f"taken from {row.target}: {known.source}")
    return None
