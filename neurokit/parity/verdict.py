"""From what the checks found to one report and its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from neurokit.parity.covering import SIDES
from neurokit.parity.forcing import Forced
from neurokit.parity.texts import TextFindings
from neurokit.parity.unseen import unseen
from neurokit.provenance import collect
from neurokit.reports import LayerParity, ParityReport, ParityVerdict, WayParity
from neurokit.reports import parity_meaning as words
from neurokit.tasks.choice import agreement_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neurokit.artifact import Artifact
    from neurokit.parity.covering import CoveringRun
    from neurokit.parity.free_run import FreeRun
    from neurokit.parity.vectors import LayerVector, Vectors

_KEEP = ": --option sensitivity=true names the layers that cost most, auto=POINTS or keep=NAMES leaves them in float"


@dataclass(frozen=True)
class Findings:
    """What all checks found.

    Attributes:
        outputs: Outputs of the free run.
        free: Judgement of the free run; None for a model without layers.
        forced: Teacher forcing of every layer; None where it was not possible.
        forced_outputs: Outputs under the reference's spikes, or None.
        covering: The covering run.
        tolerance: Relative L2 error of the outputs that is allowed in a model without layers.
        faults: One line each; any of them fails.
        notes: One line each.
        calls_error: Largest relative error of the outputs over calls in a row.
        text: What the runs of a text found.
        batches_equal: Whether every sample has the very bits in a batch that it has alone; None where not run.
        blind_samples: Samples of blind runs that were compared (neurokit/parity/blind.py).
    """

    outputs: Sequence[np.ndarray]
    free: FreeRun | None
    forced: tuple[Forced | None, ...]
    forced_outputs: Sequence[np.ndarray] | None
    covering: CoveringRun
    tolerance: float
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    calls_error: float = 0.0
    text: TextFindings = field(default_factory=TextFindings)
    batches_equal: bool | None = None
    blind_samples: int = 0


def report_of(artifact: Artifact, vectors: Vectors, found: Findings) -> ParityReport:
    """Returns the report on an artifact."""
    layers = tuple(_layer(layer, found, index) for index, layer in enumerate(vectors.layers))
    error = max(relative_error(found.outputs, vectors), found.calls_error)
    same = (
        not found.calls_error
        and not found.text.error
        and all(np.array_equal(y, r) for y, r in zip(found.outputs, vectors.outputs.values(), strict=True))
    )
    faults = list(found.faults)
    if artifact.manifest.numerics == "exact":
        faults += _exact_faults(layers, same, "range" in found.covering.unequal)
    if not layers and error > found.tolerance:
        fix = _KEEP if artifact.manifest.numerics == "int8" else ""
        faults.append(f"the outputs' relative error is {error:.3g}, and {found.tolerance:.2g} is allowed{fix}")
    manifest, (equal, rounded) = artifact.manifest, _bits(vectors, found, layers)
    return ParityReport(
        model=manifest.model.name,
        target=manifest.target,
        form=manifest.form,
        verdict=_verdict(layers, found, same and not {*rounded} - {words.BEYOND}, bool(faults)),
        layers=layers,
        output_error_forced=None if found.forced_outputs is None else relative_error(found.forced_outputs, vectors),
        output_error_free=error,
        output_tolerance=_relative_bound(vectors) if layers else found.tolerance,
        top1_agreement=_top1(found.outputs, vectors),
        spikes_compared=sum(layer.decisions for layer in layers),
        spikes_flipped=sum(layer.flips_forced for layer in layers),
        tokens_compared=found.text.tokens,
        tokens_undecided=found.text.undecided,
        notes=(*vectors.notes, *found.notes, *_notes(artifact, vectors, found, layers), *faults),
        provenance=collect(),
        unseen=unseen(vectors, found.forced_outputs is not None, found.blind_samples),
        equal=equal,
        rounded=rounded,
        free_run=found.free.judged if found.free else "all",
        proof=words.proof_reach(manifest.target_info),
        warning=words.far_from_float(manifest.target_info),
    )


def _bits(
    vectors: Vectors, found: Findings, layers: tuple[LayerParity, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns which runs beside the free one gave the reference's very bits, and which did not."""
    forced, drawn = found.forced_outputs, found.covering
    same: dict[str, bool | None] = {
        words.FORCED: None if forced is None else not any(layer.max_current_error for layer in layers),
        words.FORCED_OUTPUTS: None if forced is None else not relative_error(forced, vectors),
        words.COVERING: "range" not in drawn.unequal if "range" in drawn.ran else None,
        words.BEYOND: "beyond" not in drawn.unequal if "beyond" in drawn.ran else None,
        words.BATCHES: found.batches_equal,
        words.CALLS: not found.calls_error if vectors.calls else None,
        words.TEXT: not found.text.error if vectors.text is not None else None,
    }
    return tuple(k for k, v in same.items() if v), tuple(k for k, v in same.items() if v is False)


def with_ways(report: ParityReport, ways: tuple[WayParity, ...]) -> ParityReport:
    """Returns a report that passed with every way to run the artifact; exact only where all of them are equal."""
    if all(way.outputs_equal and not way.flips for way in ways):
        return replace(report, ways=ways, equal=(*report.equal, words.WAYS))
    verdict = report.verdict
    if verdict == "exact":
        verdict = "benign rounding" if report.layers else "within tolerance"
    return replace(report, ways=ways, verdict=verdict, rounded=(*report.rounded, words.WAYS))


def _verdict(layers: tuple[LayerParity, ...], found: Findings, same: bool, faulty: bool) -> ParityVerdict:
    wrong_code = any(forced.wrong_code for forced in found.forced if forced is not None)
    if faulty or wrong_code or any(not layer.explained for layer in layers):
        return "failed"
    if same and not any(layer.flips_free or layer.flips_forced for layer in layers):
        return "exact"
    return "benign rounding" if layers else "within tolerance"


def _exact_faults(layers: tuple[LayerParity, ...], same: bool, unequal: bool) -> list[str]:
    """Returns how an exact artifact differs from its reference: spikes, membranes or outputs."""
    faults = []
    if not same:
        faults.append("an exact artifact must equal its reference bit for bit, and its output does not")
    if unequal:
        faults.append("an exact artifact must equal its reference bit for bit, and on the coverage stimuli it does not")
    return faults + [
        f"{layer.layer}: an exact artifact must equal its reference bit for bit"
        for layer in layers
        if layer.flips_free or layer.flips_forced or layer.max_current_error
    ]


def _layer(layer: LayerVector, found: Findings, index: int) -> LayerParity:
    forced = found.forced[index] or Forced(0, 0.0, 0.0, None, False)
    return LayerParity(
        layer=layer.path,
        neuron=layer.kind,
        decisions=layer.spikes.size,
        flips_forced=forced.flips,
        worst_margin=forced.margin,
        bound=SIDES * layer.bound,
        max_current_error=forced.error,
        first_divergence=forced.first,
        flips_free=found.free.flips[index] if found.free else 0,
        spike_rate=float((layer.spikes != 0).mean()) if layer.spikes.size else 0.0,
        covering_error=found.covering.errors[index],
        contradictions=found.free.unexplained[index] if found.free else 0,
    )


def _notes(artifact: Artifact, vectors: Vectors, found: Findings, layers: tuple[LayerParity, ...]) -> list[str]:
    notes = []
    seen = {layer.path.partition("@")[0] for layer in vectors.layers}
    decomposed = sum(n.op == "decomposed" and n.path not in seen for n in artifact.manifest.neurons)
    if not layers:
        how = "compared by their outputs only"
        return [f"{decomposed} neuron layer(s) are decomposed: {how}"] if decomposed else []
    if any(forced is None for forced in found.forced):
        notes.append("some neurons are decomposed: this form could not be teacher-forced, only run freely")
    estimated = sum(not layer.rigorous for layer in vectors.layers)
    if estimated:
        notes.append(f"the rounding bound of {estimated} layer(s) is an estimate, not proven")
    if decomposed:
        notes.append(f"{decomposed} neuron layer(s) are decomposed: compared through what follows them")
    wrong = [
        layer.path for layer, forced in zip(vectors.layers, found.forced, strict=True) if forced and forced.wrong_code
    ]
    notes += [f"{path}: its neuron disagrees with its equations on the same numbers" for path in wrong]
    silent = sum(layer.spike_rate == 0.0 for layer in layers)
    if silent:
        notes.append(f"{silent} of {len(layers)} layers did not spike: for them this verification says little")
    return notes


def relative_error(outputs: Sequence[np.ndarray], vectors: Vectors) -> float:
    """Returns the relative L2 error of the outputs, the largest of all."""
    worst = 0.0
    for y, r in zip(outputs, vectors.outputs.values(), strict=True):
        if y.shape != r.shape or not np.all(np.isfinite(y) == np.isfinite(r)):
            return float("inf")
        norm = float(np.linalg.norm(r.astype(np.float64)))
        distance = float(np.linalg.norm(y.astype(np.float64) - r.astype(np.float64)))
        worst = max(worst, distance / norm if norm else distance)
    return worst


def _relative_bound(vectors: Vectors) -> float:
    worst = 0.0
    for name, r in vectors.outputs.items():
        size = float(np.linalg.norm(r.astype(np.float64))) or 1.0
        worst = max(worst, SIDES * vectors.output_bounds.get(name, 0.0) * float(np.sqrt(r.size)) / size)
    return worst


def _top1(outputs: Sequence[np.ndarray], vectors: Vectors) -> float | None:
    if not outputs:
        return None
    return agreement_of(outputs[0], next(iter(vectors.outputs.values())))
