"""What a verdict claims, in one sentence that is no wider than what was run: for terminal, JSON, manifest and page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurokit.reports.parity import ParityReport

# Kinds of runs whose results were compared bit by bit, as they stand in `ParityReport.rounded`.
FORCED = "membranes under the reference's spikes"
FORCED_OUTPUTS = "outputs under the reference's spikes"
COVERING = "coverage stimuli"
BEYOND = "inputs beyond the declared range"
BATCHES = "samples in a batch"
CALLS = "calls in a row"
TEXT = "texts"
WAYS = "other levels, threads or batches"

# Outputs that are further from the float model's than this, relative to their size, are another network's in practice.
FAR_FROM_FLOAT = 0.25
_WEAKEST = 3  # layers of a proof that are named


def meaning(report: ParityReport) -> str:
    """Returns what the verdict of a report claims; of a failed one "", because its notes say why."""
    if not report.passed:
        return ""
    said = [_of_test_vectors(report), *_of_flips(report)]
    claimed = report.verdict == "exact"
    if claimed and (also := [kind for kind in report.equal if kind not in (FORCED, FORCED_OUTPUTS)]):
        said[0] += f", and with {_listed(also)}"
    if report.rounded:
        said.append(f"within rounding, not equal, are {_listed(report.rounded)}")
    if report.layers and report.output_error_forced is None:
        said.append("the layers were not forced one by one")
    if report.unseen:
        said.append("on what was exercised")
    return "; ".join(said)


def _of_test_vectors(report: ParityReport) -> str:
    outputs = "every bit of the output" if report.output_error_free == 0 else ""
    if not report.layers:
        within = f"outputs within {report.output_tolerance:.2g} of the reference's on the test vectors (relative L2)"
        return f"{outputs} equal on the test vectors" if outputs else within
    free = sum(layer.flips_free for layer in report.layers)
    spikes = "" if report.spikes_flipped or free else "every spike"
    equal = [part for part in (spikes, outputs) if part]
    if not equal:
        return "outputs as their spikes lead to, within rounding"
    return f"{' and '.join(equal)} equal on the test vectors" + ("" if outputs else ", the output within rounding")


def _of_flips(report: ParityReport) -> list[str]:
    """Returns how many decisions are others than the reference's, and what is known of why."""
    free = sum(layer.flips_free for layer in report.layers)
    said = []
    if report.spikes_flipped:
        said.append(f"{report.spikes_flipped:,} spikes flipped when forced, each within the rounding of its own layer")
    if free:
        why = {
            "all": "each as its own current and state say",
            "first": "the first of them at a near miss",
            "none": "not judged one by one, because a layer is not seen",
        }[report.free_run]
        said.append(f"{free:,} spikes flipped running freely, {why}")
    return said


def _listed(kinds: tuple[str, ...] | list[str]) -> str:
    return ", ".join(kinds[:-1]) + " and " + kinds[-1] if len(kinds) > 1 else kinds[0]


def proof_reach(target_info: Mapping[str, Any]) -> str:
    """Returns what the proof of exactness in a manifest's target_info promises, or "" where there is none."""
    proof = target_info.get("proof")
    if not isinstance(proof, Mapping):
        return ""
    steps, asked = proof.get("steps_any_precision"), proof.get("time_steps")
    count = "any number of steps" if steps is None else f"{steps} time steps"
    layers = [layer["name"] for layer in proof.get("layers", ()) if layer.get("status") != "exact"]
    if proof.get("status") == "exact":
        return f"every sum exact, in any order and in any precision from float32 up, for {count}"
    more = f" and {len(layers) - _WEAKEST} more" if len(layers) > _WEAKEST else ""
    said = (
        "elementwise: the same bits wherever float32 operations are rounded as IEEE 754 says and not contracted "
        f"(weakest: {', '.join(layers[:_WEAKEST])}{more})"
    )
    if steps is None or asked is None:
        return said
    return f"{said}; in other precisions, such as float64, the same spikes are proven for {steps} of {asked} time steps"


def far_from_float(target_info: Mapping[str, Any]) -> str:
    """Returns a warning where the lowered network is far from its float model by what lowering measured, else ""."""
    found = target_info.get("against_float")
    if not isinstance(found, Mapping):
        return ""
    error = found.get("output_relative_l2")
    if not isinstance(error, int | float) or error <= FAR_FROM_FLOAT:
        return ""
    return (
        f"in practice this is another network than the float model: its outputs are off by {error:.2g} of their size "
        f"(above {FAR_FROM_FLOAT}) on {found.get('samples', 'some')} samples of {found.get('data', 'given data')}; the "
        "verdict says that it is computed as it is written, not that it still does its task; give more bits or "
        "calibration data of the task, or use --numerics float"
    )
