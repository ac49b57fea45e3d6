"""One ratio that says whether spiking can pay, and the comparison with the same network without spikes in words."""

from __future__ import annotations

from collections.abc import Iterable

from neurokit.hw_sim.graph.counts import Workload
from neurokit.reports.energy import ChipReport, EstimatorReport, Verdict

# S. Davidson and S. Furber, Comparison of Artificial and Spiking Neural Networks on Digital Hardware,
# Frontiers in Neuroscience 15, 2021: fewer spikes a synapse and inference than this are needed.
GATE = 1.72
SOURCE = (
    "S. Davidson, S. Furber, Comparison of Artificial and Spiking Neural Networks on Digital Hardware, "
    "Front. Neurosci. 15, 2021"
)

NO_VERDICT = "no comparison: part of the network is in no count, so every total is a lower bound"


def spikes_per_synapse(workload: Workload) -> Verdict:
    """Judges synaptic events for each synapse over the run against Davidson and Furber's 1.72."""
    ratio = workload.spikes_per_synapse()
    passes = ratio < GATE
    can = "can be cheaper than" if passes else "is not cheaper than"
    text = f"{ratio:.3g} spikes a synapse and inference (threshold {GATE}): spiking {can} the same net without spikes"
    return Verdict(ratio, GATE, passes, text, SOURCE)


def compare_with_ann(
    chips: Iterable[ChipReport], estimators: Iterable[EstimatorReport], baseline: EstimatorReport
) -> tuple[str, ...]:
    """Says for each chip and estimator how many times the baseline's energy it takes."""
    lines = []
    for name, joules, least in _totals(chips, estimators):
        if name.startswith("ann-") or not baseline.total.value:
            continue
        ratio = joules / baseline.total.value
        bound = "at least " if least else ""
        word = "COSTS MORE THAN" if ratio > 1 else "costs less than"
        lines.append(f"{name}: {bound}{ratio:.3g} x {baseline.name} ({word} the same network without spikes)")
    return tuple(lines)


def _totals(chips: Iterable[ChipReport], estimators: Iterable[EstimatorReport]) -> Iterable[tuple[str, float, bool]]:
    for chip in chips:
        if chip.total is not None:
            yield chip.title, chip.total.value, chip.status == "lower-bound"
    for estimator in estimators:
        yield estimator.name, estimator.total.value, False
