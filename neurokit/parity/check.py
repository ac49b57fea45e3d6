"""Verification: does a lowered model compute what its source computes, spike for spike?

Comparing outputs says little about a spiking network: another order of summation moves a membrane across its
threshold, and the flip cascades. So every layer is run with the reference's spikes as its input and with the
reference's spikes driving its reset (teacher-forced); a flip there has one cause, its own layer. It is benign where
the membrane was within the layer's rounding bound of the threshold, and a failure anywhere else.

What teacher forcing replaces is checked beside it: what the artifact does on its own (free_run.py), its neurons'
state over time (neuron_run.py), weights that no spike of the test vectors reads (covering.py), and samples in a batch
(batch.py). docs/verification.md has the argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from neurokit.artifact import Artifact
from neurokit.parity.batch import Batches, judge_batches
from neurokit.parity.blind import BlindRuns, judge_blind
from neurokit.parity.calls import call_faults
from neurokit.parity.covering import OWN, TOLERANCE, judge_covering
from neurokit.parity.forcing import Forced, force_layer, in_bounds
from neurokit.parity.free_run import judge_free_run, membrane_faults
from neurokit.parity.longer import judge_longer, reaches
from neurokit.parity.neuron_run import judge_neurons
from neurokit.parity.own_rounding import said
from neurokit.parity.probing import RunnerProbe, open_probe
from neurokit.parity.texts import TextFindings, judge_text
from neurokit.parity.units import unit_of
from neurokit.parity.vectors import Vectors
from neurokit.parity.verdict import Findings, report_of, with_ways
from neurokit.parity.ways import fault_of, run_every_way
from neurokit.reports import ParityReport, ParityVerdict, SimulatorParity
from neurokit.target import TARGETS, Probe


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
    ways = run_every_way(artifact, vectors, lambda **options: open_probe(artifact, **options))
    tolerance = None if vectors.layers else report.output_tolerance
    fault = fault_of(ways, artifact.manifest.numerics == "exact", tolerance)
    if not fault:
        report = with_ways(report, ways)
        flipped = [way for way in ways if way.flips]
        if not flipped:
            return report
        worst, error = max(flipped, key=lambda way: way.flips), max(way.output_error for way in ways)
        said = (
            f"the answer depends on how it is run: {len(flipped)} of {len(ways)} ways flip spikes, "
            f"up to {worst.flips:,} of {worst.decisions:,}, output error up to {error:.2g}; "
        )
        if all(way.judged for way in flipped):
            said += "each follows from a near miss, by the artifact's own currents and states"
            return replace(report, notes=(*report.notes, said))
        # Without currents there is nothing to judge them by, and what is not judged does not pass.
        said += "this form shows no currents to judge them by"
        return replace(report, verdict="failed", notes=(*report.notes, said))
    return replace(report, ways=ways, verdict="failed", notes=(*report.notes, fault))


def _verify(artifact: Artifact, vectors: Vectors, **options: Any) -> ParityReport:
    probe = open_probe(artifact, **options)
    recorded, vectors = vectors, probe.restrict(vectors)
    outputs, spikes = probe.free(vectors.feeds)
    tolerance = _tolerance(vectors) if probe.tolerance is None else probe.tolerance
    free = judge_free_run(probe, vectors, outputs, spikes) if vectors.layers else None
    forced, forced_outputs, currents = _force(probe, vectors)
    faults, notes = probe.inspect(vectors)
    if free and (free.first is None or not currents):  # else they are judged under the artifact's own spikes
        faults += membrane_faults(probe, vectors.layers, [layer.spikes for layer in vectors.layers], currents)
    if forced_outputs is not None and not _within(forced_outputs, vectors):
        faults.append("fed the reference's spikes, its output is beyond rounding")
    covering = judge_covering(probe, vectors, tolerance)
    blind = judge_blind(probe, vectors) if vectors.blind else BlindRuns()
    if probe.can_force():
        faults += judge_neurons(probe, vectors.layers)
    longer = reaches(artifact.manifest.target_info, vectors.feeds)
    if artifact.manifest.time_steps == "dynamic" and probe.can_force() and longer:
        faults += judge_longer(probe, vectors, keeps_more=vectors.hidden > 0)
    worst, text, batches = 0.0, TextFindings(), Batches()
    if vectors.calls:
        with probe.runner() or TARGETS.get(artifact.manifest.target).open(artifact, **options) as runner:
            worst, wrong = call_faults(runner, vectors.calls, tolerance)
            text = judge_text(runner, vectors.text) if vectors.text is not None else TextFindings()
        faults += [*wrong, *text.faults]
    elif recorded.coverings or isinstance(probe, RunnerProbe):  # else it keeps states, or is of version 0.1
        fixed = artifact.manifest.options.get("batch")
        exact = artifact.manifest.numerics == "exact"
        size = fixed if isinstance(fixed, int) else None
        relative = tolerance if probe.batch_tolerance is None else probe.batch_tolerance
        shapes = [port.shape for port in artifact.manifest.outputs]
        batches = judge_batches(probe, vectors, size, relative, exact, (outputs, spikes), shapes)
    faults += [*batches.faults, *(free.faults if free else ()), *covering.faults, *blind.faults]
    return report_of(
        artifact,
        vectors,
        Findings(
            outputs,
            free,
            tuple(forced),
            forced_outputs,
            covering,
            tolerance,
            tuple(faults),
            (*notes, *said(vectors.roundings, _of_type(vectors))),
            worst,
            text,
            batches.equal,
            blind.samples,
        ),
    )


def _tolerance(vectors: Vectors) -> float:
    """Returns the relative error that is allowed of outputs without neurons.

    In units of the type they are made in; of a network that amplifies rounding what its reference's own distance from
    float64 allows.
    """
    return max([_of_type(vectors), *(OWN * value for value in vectors.roundings.values())])


def _of_type(vectors: Vectors) -> float:
    if vectors.unit:
        return TOLERANCE * vectors.unit / unit_of("float32")
    unit = max((unit_of(value.dtype) for value in vectors.outputs.values() if value.dtype.kind == "f"), default=0.0)
    return TOLERANCE * max(1.0, unit / unit_of("float32"))


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
    return replace(report, simulators=rows, verdict=verdict, notes=(*report.notes, *faults, *_readers(artifact, rows)))


def _readers(artifact: Artifact, rows: Sequence[SimulatorParity]) -> tuple[str, ...]:
    """Says which readers take the file: a file that is exact is of no use where none does."""
    took = [row.simulator for row in rows if row.status == "ran"]
    refused = [row.simulator for row in rows if row.status == "refused"]
    if not refused:
        return ()
    said = f"read by {', '.join(took) or 'no simulator that is installed'}; refused by {', '.join(refused)}"
    rewritten = artifact.manifest.target_info.get("rewrites") or ()
    pooled = any(note.endswith("SumPool2d and Threshold") for note in rewritten)
    return (f"{said}; --option maxpool=neuron writes its MaxPool of nodes that more readers know" if pooled else said,)


def free_run(artifact: Artifact, vectors: Vectors) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs an artifact on its own; returns its outputs (reduced over time) and every layer's spikes."""
    return open_probe(artifact).free(vectors.feeds)


def _force(probe: Probe, vectors: Vectors) -> tuple[list[Forced | None], list[np.ndarray] | None, list[np.ndarray]]:
    """Runs teacher-forced; returns a finding a layer, the outputs, and every layer's current."""
    if not vectors.layers or not probe.can_force():
        return [None] * len(vectors.layers), None, []
    outputs, currents = probe.currents(vectors.feeds, [layer.spikes for layer in vectors.layers])
    results: list[Forced | None] = [
        force_layer(probe, index, layer, current)
        for index, (layer, current) in enumerate(zip(vectors.layers, currents, strict=True))
    ]
    return results, outputs, currents


def _within(outputs: list[np.ndarray], vectors: Vectors) -> bool:
    return all(
        in_bounds(y, wanted, vectors.output_bounds.get(name, 0.0))
        for y, (name, wanted) in zip(outputs, vectors.outputs.items(), strict=True)
    )
