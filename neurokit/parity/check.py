"""Verification: does a lowered model compute what its source computes, spike for spike?

Comparing outputs says little about a spiking network: another order of summation moves a membrane across its
threshold, and the flip cascades. So every layer is run with the reference's spikes as its input and with the
reference's spikes driving its reset (teacher-forced); a flip there has one cause, its own layer. It is benign where
the membrane was within the layer's rounding bound of the threshold, and a failure anywhere else.

Inputs that never fire in the test vectors hide their weights from that, so the layers' input currents are compared
once more with every neuron layer firing at random.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurokit.artifact import Artifact
from neurokit.parity.calls import call_faults
from neurokit.parity.forcing import SIDES, Forced, excess, fires_at_threshold, force_layer, in_bounds
from neurokit.parity.vectors import LayerVector, Vectors, covering_spikes
from neurokit.parity.ways import fault_of, run_every_way
from neurokit.provenance import collect
from neurokit.reports import LayerParity, ParityReport, ParityVerdict, SimulatorParity
from neurokit.target import TARGETS

# A network without neurons: relative L2 error of the outputs that float32 in another order stays far below.
TOLERANCE = 1e-4


def verify(artifact: Artifact, *, thorough: bool = False, **options: Any) -> ParityReport:
    """Verifies an artifact from its files alone.

    Args:
        artifact: The artifact; its test vectors are used.
        thorough: Whether to run it on every optimisation level, with one and two threads, alone and in a batch of
            five as well. An exact artifact must give the same bits in all ways.
        options: Options of the target's probe (for ONNX: level, threads).

    Returns:
        The report; nothing is written.

    Raises:
        ArtifactError: If a file is damaged.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    vectors = Vectors.of(artifact)
    report = _verify(artifact, vectors, **options)
    return _thorough(artifact, vectors, report) if thorough else report


def _thorough(artifact: Artifact, vectors: Vectors, report: ParityReport) -> ParityReport:
    ways = run_every_way(artifact, vectors, lambda **options: _probe(artifact, **options))
    tolerance = None if vectors.layers else report.output_tolerance
    fault = fault_of(ways, artifact.manifest.numerics == "exact", tolerance)
    if not fault:
        return replace(report, ways=ways)
    return replace(report, ways=ways, verdict="failed", notes=(*report.notes, fault))


def _verify(artifact: Artifact, vectors: Vectors, **options: Any) -> ParityReport:
    probe = _probe(artifact, **options)
    if hasattr(probe, "narrow"):  # an artifact of parts of a model
        vectors = probe.narrow(vectors)
    outputs, spikes = free_run(artifact, vectors, probe)
    if not vectors.layers:
        return _without_neurons(probe, artifact, vectors, outputs, options)
    forced, forced_error, output_ok = _force(probe, vectors)
    covered, covered_ok = _cover(probe, vectors)
    layers = tuple(
        _layer(layer, found, free, ratio)
        for layer, found, free, ratio in zip(vectors.layers, forced, spikes, covered, strict=True)
    )
    same = all(np.array_equal(y, r) for y, r in zip(outputs, vectors.outputs.values(), strict=True))
    failed = not (output_ok and covered_ok) or any(
        not layer.explained or layer.max_current_error > layer.bound or found.wrong_code
        for layer, found in zip(layers, forced, strict=True)
        if found is not None
    )
    notes = [*vectors.notes, *_notes(artifact, vectors, forced, layers)]
    exact = same and not any(layer.flips_free or layer.flips_forced for layer in layers)
    if artifact.manifest.numerics == "exact":
        faults = _exact_faults(probe, vectors, layers, same)
        failed = failed or bool(faults)
        notes += faults
    return ParityReport(
        model=artifact.manifest.model.name,
        target=artifact.manifest.target,
        form=artifact.manifest.form,
        verdict="failed" if failed else "exact" if exact else "benign rounding",
        layers=layers,
        output_error_forced=forced_error,
        output_error_free=_error(outputs, vectors),
        output_tolerance=_relative_bound(vectors),
        top1_agreement=_top1(outputs, vectors),
        spikes_compared=sum(layer.decisions for layer in layers),
        spikes_flipped=sum(layer.flips_forced for layer in layers),
        notes=tuple(notes),
        provenance=collect(),
    )


def with_simulators(artifact: Artifact, report: ParityReport) -> ParityReport:
    """Runs the artifact's file in other simulators, where its target has any, and adds what they found.

    An exact artifact fails if a simulator that computes the same equations gives another spike.
    """
    target = TARGETS.get(artifact.manifest.target)
    if not hasattr(target, "simulators"):
        return report
    rows: tuple[SimulatorParity, ...] = target.simulators(artifact, Vectors.of(artifact))
    faults = tuple(
        f"{row.simulator}: an exact artifact must give the same spikes there, and {row.spikes_differ} differ"
        for row in rows
        if artifact.manifest.numerics == "exact" and row.demanded and row.spikes_differ
    )
    verdict: ParityVerdict = "failed" if faults else report.verdict
    return replace(report, simulators=rows, verdict=verdict, notes=(*report.notes, *faults))


def _exact_faults(probe: Any, vectors: Vectors, layers: tuple[LayerParity, ...], same: bool) -> list[str]:
    """Returns how an exact artifact differs from its reference: spikes, membranes, outputs or thresholds."""
    faults = []
    if not same:
        faults.append("an exact artifact must equal its reference bit for bit, and its output does not")
    for index, (layer, reference) in enumerate(zip(layers, vectors.layers, strict=True)):
        if layer.flips_free or layer.flips_forced or layer.max_current_error or layer.covering_error:
            faults.append(f"{layer.layer}: an exact artifact must equal its reference bit for bit")
        if probe.can_force() and not fires_at_threshold(probe, index, reference):
            faults.append(f"{layer.layer}: its threshold is not {reference.parameters['v_threshold']!r}")
    return faults


def free_run(artifact: Artifact, vectors: Vectors, probe: Any = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs an artifact on its own; returns its outputs (reduced over time) and every layer's spikes."""
    found: tuple[list[np.ndarray], list[np.ndarray]] = (probe or _probe(artifact)).free(vectors.feeds)
    return found


def _probe(artifact: Artifact, **options: Any) -> Any:
    target = TARGETS.get(artifact.manifest.target)
    return target.probe(artifact, **options)  # type: ignore[attr-defined]


def _without_neurons(
    probe: Any, artifact: Artifact, vectors: Vectors, outputs: list[np.ndarray], options: dict[str, Any]
) -> ParityReport:
    error = _error(outputs, vectors)
    tolerance = getattr(probe, "tolerance", TOLERANCE)
    faults, more = probe.faults(vectors) if hasattr(probe, "faults") else ([], [])
    if vectors.calls:
        with TARGETS.get(artifact.manifest.target).open(artifact, **options) as runner:
            worst, wrong = call_faults(runner, vectors.calls, tolerance)
        error, faults = max(error, worst), [*faults, *wrong]
    decomposed = [n.path for n in artifact.manifest.neurons if n.op == "decomposed"]
    same = error == 0 and all(np.array_equal(y, r) for y, r in zip(outputs, vectors.outputs.values(), strict=True))
    if artifact.manifest.numerics == "exact" and not same:
        faults.append("an exact artifact must equal its reference bit for bit, and its output does not")
    notes = [*vectors.notes, *more, *faults]
    if decomposed:
        notes.append(f"{len(decomposed)} neuron layer(s) are decomposed: compared by their outputs only")
    verdict: ParityVerdict = "exact" if same else "within tolerance" if error <= tolerance else "failed"
    verdict = "failed" if faults else verdict
    return ParityReport(
        model=artifact.manifest.model.name,
        target=artifact.manifest.target,
        form=artifact.manifest.form,
        verdict=verdict,
        output_error_free=error,
        output_tolerance=tolerance,
        top1_agreement=_top1(outputs, vectors),
        notes=tuple(notes),
        provenance=collect(),
    )


def _force(probe: Any, vectors: Vectors) -> tuple[list[Forced | None], float | None, bool]:
    """Runs teacher-forced; returns a finding a layer, the relative output error, and whether that is in bounds."""
    if not probe.can_force():
        return [None] * len(vectors.layers), None, True
    given = [layer.spikes.astype(_element(vectors)) for layer in vectors.layers]
    outputs, currents = probe.currents(vectors.feeds, given)
    found: list[Forced | None] = [
        force_layer(probe, index, layer, current)
        for index, (layer, current) in enumerate(zip(vectors.layers, currents, strict=True))
    ]
    within = all(
        in_bounds(y, r, vectors.output_bounds.get(name, 0.0))
        for y, (name, r) in zip(outputs, vectors.outputs.items(), strict=True)
    )
    return found, _error(outputs, vectors), within


def _element(vectors: Vectors) -> np.dtype[Any]:
    """Returns the element type of spikes: that of the first input with one for fractions."""
    return next((v.dtype for v in vectors.feeds.values() if v.dtype.kind == "f"), np.dtype(np.float32))


def _cover(probe: Any, vectors: Vectors) -> tuple[list[float | None], bool]:
    """Runs with random spikes.

    Returns:
        Every layer's largest error of its current, in units of what is allowed, and whether the outputs are in bounds.
    """
    covers = [layer.cover for layer in vectors.layers if layer.cover]
    if not probe.can_force() or len(covers) < len(vectors.layers):
        return [None] * len(vectors.layers), True
    dtype = _element(vectors)
    shapes = [layer.spikes.shape for layer in vectors.layers]
    given = [covering_spikes(cover.seed, shape).astype(dtype) for cover, shape in zip(covers, shapes, strict=True)]
    outputs, currents = probe.currents(vectors.feeds, given)
    found = dict(zip(vectors.outputs, outputs, strict=True))
    within = all(
        in_bounds(found[name], wanted, vectors.covering_bounds[name])
        for name, wanted in vectors.covering_outputs.items()
    )
    return [excess(cover, current) for cover, current in zip(covers, currents, strict=True)], within


def _layer(layer: LayerVector, found: Forced | None, free: np.ndarray, covering: float | None) -> LayerParity:
    flips_free = int((free.reshape(layer.spikes.shape).astype(np.uint8) != layer.spikes).sum())
    found = found or Forced(0, 0.0, 0.0, None, False)
    return LayerParity(
        layer=layer.path,
        neuron=layer.kind,
        decisions=layer.spikes.size,
        flips_forced=found.flips,
        worst_margin=found.margin,
        bound=SIDES * layer.bound,
        max_current_error=found.error,
        first_divergence=found.first,
        flips_free=flips_free,
        spike_rate=float(layer.spikes.mean()) if layer.spikes.size else 0.0,
        covering_error=covering,
    )


def _notes(artifact: Artifact, vectors: Vectors, forced: list[Any], layers: tuple[LayerParity, ...]) -> list[str]:
    notes = []
    if any(found is None for found in forced):
        notes.append("some neurons are decomposed: this form could not be teacher-forced, only run freely")
    estimated = sum(not layer.rigorous for layer in vectors.layers)
    if estimated:
        notes.append(f"the rounding bound of {estimated} layer(s) is an estimate, not proven")
    decomposed = sum(neuron.op == "decomposed" for neuron in artifact.manifest.neurons)
    if decomposed:
        notes.append(f"{decomposed} neuron layer(s) are decomposed: compared through what follows them")
    notes += [
        f"{layer.layer}: under random spikes its current is off by {layer.covering_error:.2g} times its rounding bound"
        for layer in layers
        if (layer.covering_error or 0.0) > 1.0
    ]
    silent = sum(layer.spike_rate == 0.0 for layer in layers)
    if silent:
        notes.append(f"{silent} of {len(layers)} layers did not spike: for them this verification says little")
    return notes


def _error(outputs: list[np.ndarray], vectors: Vectors) -> float:
    """Returns the relative L2 error of the outputs."""
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


def _top1(outputs: list[np.ndarray], vectors: Vectors) -> float | None:
    if not outputs:
        return None
    reference = next(iter(vectors.outputs.values()))
    y = outputs[0]
    if y.ndim < 2 or y.shape[-1] < 2 or y.shape != reference.shape:
        return None
    return float((y.argmax(-1) == reference.argmax(-1)).mean())
