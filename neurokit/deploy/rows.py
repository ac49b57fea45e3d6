"""Rows of the report, from what the steps gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurokit.artifact import Artifact
from neurokit.bench.subject import numerics_of
from neurokit.deploy.measure import Lowered
from neurokit.deploy.plan import Form, Plan
from neurokit.deploy.work import Work
from neurokit.quantity import Quantity
from neurokit.reports import LatencyReport
from neurokit.reports.deploy import HERE, DeployRow, Metric, RowStatus
from neurokit.reports.energy import EnergyReport


def skipped_rows(plan: Plan) -> list[DeployRow]:
    """Returns a row for each form that was not tried."""
    return [DeployRow(form.name, form.target, form.numerics, HERE, "failed", why) for form, why in plan.skipped]


def measured_rows(
    work: Work, lowered: Lowered, measured: Mapping[str, Mapping[Form, Mapping[str, Any]]]
) -> list[DeployRow]:
    """Returns a row for each form on each device; of a form that could not be made or verified, one."""
    rows = []
    for form, made in lowered.items():
        if "failed" in made:
            rows.append(DeployRow(form.name, form.target, form.numerics, HERE, "failed", str(made["failed"])))
            continue
        artifact = Artifact.load(work.store.folder / made["artifact"])
        for device, found in measured.items():
            rows.append(_measured(form, made, artifact, device, found.get(form), work.plan.metric))
            if made["parity"] in ("failed", "not verified"):
                break
    return rows


def _measured(
    form: Form,
    made: Mapping[str, Any],
    artifact: Artifact,
    device: str,
    found: Mapping[str, Any] | None,
    metric: Metric | None,
) -> DeployRow:
    files = {name: info for name, info in artifact.manifest.files.items() if name not in _OURS}
    size = sum(info.bytes for info in files.values())
    figures = {"size": Quantity.exact(size, "B", "measured", f"{len(files)} files that running it takes")}
    figures |= _microcontroller(artifact)
    steps = artifact.manifest.time_steps if isinstance(artifact.manifest.time_steps, int) else None
    notes = tuple(str(note) for note in made.get("notes", ()))
    numerics = numerics_of(artifact.manifest)
    common = (form.name, form.target, numerics, device)
    known: dict[str, Any] = {"parity": made["parity"], "artifact": made["artifact"], "time_steps": steps}
    if found is None or "failed" in found:
        why = "its verification failed: it computes something else" if found is None else str(found["failed"])
        return DeployRow(*common, "failed", why, figures, notes=notes, **known)
    report = LatencyReport.from_json(found["report"])
    figures |= {"p50": report.p50}
    if report.p99 is not None:
        figures["p99"] = report.p99
    if report.energy is not None:
        figures["energy"] = report.energy
    if "cpu_added" in report.memory:
        figures["memory"] = Quantity.exact(
            report.memory["cpu_added"], "B", "measured", "peak resident memory, added by loading and running"
        )
    if metric is not None and report.scores:
        figures[metric.name] = Quantity(**report.scores["metrics"][metric.name])
    elif metric is not None:
        notes = (*notes, str(report.environment.get("accuracy_note", "it was not scored")))
    status: RowStatus = "ok" if report.verdict == "VALID" else "invalid"
    return DeployRow(*common, status, "; ".join(report.reasons), figures, notes=notes, **known)


def _microcontroller(artifact: Artifact) -> dict[str, Quantity]:
    """Returns what the network takes of a microcontroller's memories, where the cross compiler was there to say."""
    found = artifact.manifest.target_info.get("microcontroller") or {}
    if "flash_bytes" not in found:
        return {}
    source = f"linked by arm-none-eabi-gcc {found['optimisation']} for {found['cpu']}: the network alone"
    return {key: Quantity.exact(found[f"{key}_bytes"], "B", "measured", source) for key in ("flash", "ram")}


_OURS = ("vectors.npz", "calibration.npz")  # test vectors: running takes none of them


def chip_rows(priced: Sequence[Mapping[str, Any]], plan: Plan) -> list[DeployRow]:
    """Returns a row for each chip: the mean over the samples, with the metric where the network fits."""
    rows: list[DeployRow] = []
    for entry in priced:
        if "failed" in entry:
            why = str(entry["failed"])
            rows += [DeployRow("spiking", chip, "", chip, "failed", why, simulated=True) for chip in plan.chips]
            continue
        report = EnergyReport.from_json(entry["report"])
        rows += [_chip(report, chip, entry, plan.metric) for chip in report.chips]
    return rows


def _chip(report: EnergyReport, chip: Any, entry: Mapping[str, Any], metric: Metric | None) -> DeployRow:
    figures: dict[str, Quantity] = {}
    total = report.total_of(chip)
    if total is not None:
        figures["energy"] = total
    if chip.latency is not None:
        figures["p50"] = chip.latency.inference
    score = entry.get("score")
    if chip.fits and metric is not None and score:
        found = Quantity(**score["metrics"][metric.name])
        source = f"{found.source}; of the network in float: the chip's own width of weights is not in it"
        figures[metric.name] = Quantity(found.value, found.low, found.high, found.unit, "simulated", source)
    over = report.test_set.energy.get(chip.chip) if report.test_set else None
    spread = f"mean of {over.samples} samples, standard deviation {over.deviation:.3g} {over.unit}" if over else ""
    notes = tuple(part for part in (*map(str, entry.get("notes", ())), spread) if part)
    status: RowStatus = "ok"
    reason = ""
    if total is None:
        status, reason = "failed", "the chip has no price for what the network does: " + ", ".join(chip.unpriced[:3])
    elif not chip.fits:
        status, reason = "invalid", "it does not fit: " + "; ".join(chip.violations[:2])
    elif chip.status == "lower-bound" or report.lower_bound:
        status, reason = "lower-bound", "no price for " + ", ".join((*chip.unpriced, *report.uncounted)[:3])
    steps = entry.get("time_steps")
    return DeployRow(
        "spiking",
        chip.chip,
        "",
        chip.title,
        status,
        reason,
        figures,
        simulated=True,
        time_steps=steps,
        notes=notes,
    )
