"""Faster, slower or noise: a paired test of two runs with a stated confidence.

Each run is cut into as many consecutive blocks, and the medians of blocks at the same place are paired: what changes
in the course of a run (clocks, temperature) then affects both alike, and neighbouring samples, which are not
independent, are not counted as if they were. The ratio is the Hodges-Lehmann estimate of the logarithms' difference,
its interval is that of the Wilcoxon signed-rank test (Hollander and Wolfe, Nonparametric Statistical Methods,
3rd edition, sections 3.2 and 3.3). A difference counts when the whole interval lies beyond a margin, because
two runs of the very same program differ by one or two percent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from neurokit import statistics as samples
from neurokit.bench.run import BenchRun
from neurokit.errors import InputError
from neurokit.reports import LatencyReport

Outcome = Literal["faster", "slower", "noise"]

BLOCKS = 20
MARGIN = 0.03
CONFIDENCE = 0.95
_LEAST_BLOCKS = 6  # with fewer pairs no interval of the test reaches 95 %
_LEAST_SAMPLES = 60
_LONGEST_S = 1e9  # of a sample, some thirty years: what is longer, or no number, was not measured


@dataclass(frozen=True)
class Comparison:
    """How one subject's latency changed from run a to run b.

    Attributes:
        key: Model, target, variant and scenario.
        outcome: "faster" or "slower" (b than a) where the interval lies beyond the margin; else "noise".
        ratio: Time of b over time of a.
        low: Lower end of the ratio's interval.
        high: Upper end.
        confidence: Confidence of the interval.
        blocks: Number of pairs.
        margin: Change that is not called.
        notes: What differs between the two runs besides.
    """

    key: str
    outcome: Outcome
    ratio: float
    low: float
    high: float
    confidence: float
    blocks: int
    margin: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the comparison as a JSON object."""
        return asdict(self)

    def text(self) -> str:
        """Returns the finding as one line."""
        body = f"{self.outcome}: {self.ratio - 1:+.1%} [{self.low - 1:+.1%}, {self.high - 1:+.1%}]"
        return f"{body} at {self.confidence:.1%} confidence, {self.blocks} pairs, margin {self.margin:.0%}"


def compare_samples(
    a: Sequence[float], b: Sequence[float], *, margin: float = MARGIN, confidence: float = CONFIDENCE
) -> tuple[Outcome, float, float, float, float, int]:
    """Compares two runs of samples.

    Returns:
        Outcome, ratio b/a, its interval, the interval's confidence, and the number of pairs.

    Raises:
        InputError: If a run has too few samples, or a sample is not above zero.
    """
    if min(len(a), len(b)) < _LEAST_SAMPLES or not all(0 < value < _LONGEST_S for value in (*a, *b)):
        raise InputError(
            f"{min(len(a), len(b))} samples cannot be compared",
            expected=f"at least {_LEAST_SAMPLES} in each, above 0 s and below {_LONGEST_S:g}",
        )
    count = max(_LEAST_BLOCKS, min(BLOCKS, min(len(a), len(b)) // 10))
    pairs = zip(samples.blocks(a, count), samples.blocks(b, count), strict=True)
    differences = [math.log(statistics.median(after) / statistics.median(before)) for before, after in pairs]
    middle, low, high, reached = hodges_lehmann(differences, confidence)
    ratio, low, high = math.exp(middle), math.exp(low), math.exp(high)
    edge = math.log1p(margin)
    outcome: Outcome = "slower" if math.log(low) > edge else "faster" if math.log(high) < -edge else "noise"
    return outcome, ratio, low, high, reached, count


def hodges_lehmann(differences: Sequence[float], confidence: float) -> tuple[float, float, float, float]:
    """Returns the Hodges-Lehmann estimate, its signed-rank interval and the confidence that this has."""
    count = len(differences)
    averages = sorted((differences[i] + differences[j]) / 2 for i in range(count) for j in range(i, count))
    tails = _signed_rank_tails(count)
    # The interval from the k-th smallest to the k-th largest average misses with twice P(W <= k - 1).
    cut = max((k for k in range(len(averages) // 2) if 2 * tails[k] <= 1 - confidence), default=None)
    if cut is None:
        raise InputError(f"{count} pairs give no interval of {confidence:.0%}", expected="more samples")
    return statistics.median(averages), averages[cut], averages[-1 - cut], 1 - 2 * tails[cut]


def _signed_rank_tails(count: int) -> list[float]:
    """Returns P(W <= w) of the signed-rank statistic without ties, for w = 0, 1, ..."""
    ways = [1]
    for rank in range(1, count + 1):
        grown = ways + [0] * rank
        for value, number in enumerate(ways):
            grown[value + rank] += number
        ways = grown
    total, tails = 0, []
    for number in ways:
        total += number
        tails.append(total / 2**count)
    return tails


def key(report: LatencyReport) -> str:
    """Returns what two reports must share to be compared."""
    parts = [report.model, report.target, report.variant, report.numerics, report.scenario, f"batch {report.batch}"]
    parts += [f"T={report.time_steps}"] if report.time_steps else []
    parts += [f"{report.streams} streams"] if report.streams > 1 else []
    parts += [f"every {report.deadline_s * 1e3:g} ms"] if report.deadline_s else []
    return " · ".join(part for part in parts if part and part != "float")


def check_limits(margin: float, confidence: float) -> None:
    """Refuses a margin or a confidence that is out of range.

    Raises:
        InputError: As said.
    """
    if not 0 <= margin < 1 or not 0.5 <= confidence < 1:
        raise InputError(f"margin {margin:g}, confidence {confidence:g}", expected="margin 0 to 1, confidence 0.5 to 1")


def compare_runs(
    a: BenchRun, b: BenchRun, *, margin: float = MARGIN, confidence: float = CONFIDENCE, allow_invalid: bool = False
) -> list[Comparison]:
    """Compares what two runs have in common.

    Args:
        a: The run before.
        b: The run after.
        margin: Change that is not called, as a share.
        confidence: Least confidence of the interval.
        allow_invalid: Whether INVALID reports may be compared; the comparison then says so.

    Raises:
        InputError: If they have nothing in common, a report is INVALID, or an option is out of range.
    """
    check_limits(margin, confidence)
    before = {key(report): report for report in a.reports}
    after = {key(report): report for report in b.reports}
    common = [name for name in before if name in after]
    if not common:
        raise InputError(
            "the two runs have no subject in common",
            expected="the same model, target and scenario in both",
            fix=f"a has {', '.join(before) or 'nothing'}; b has {', '.join(after) or 'nothing'}",
        )
    return [_compare(name, before[name], after[name], margin, confidence, allow_invalid) for name in common]


def _compare(
    name: str, a: LatencyReport, b: LatencyReport, margin: float, confidence: float, allow_invalid: bool
) -> Comparison:
    notes = []
    for which, report in (("a", a), ("b", b)):
        if report.verdict == "INVALID":
            why = f"{which} is INVALID: {'; '.join(report.reasons)}"
            if not allow_invalid:
                raise InputError(
                    f"{name}: {why}", expected="VALID runs", fix="measure again, or compare with --allow-invalid"
                )
            notes.append(why)
    notes += _differences(a.environment, b.environment)
    found = compare_samples(a.samples_s, b.samples_s, margin=margin, confidence=confidence)
    outcome, ratio, low, high, reached, count = found
    return Comparison(name, outcome, ratio, low, high, reached, count, margin, tuple(notes))


def _part(environment: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a part of what a report says of its machine; what is no table says nothing."""
    part = environment.get(name)
    return part if isinstance(part, dict) else {}


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Returns what else changed: machine, runtime or threads."""
    places = (("machine", "cpu"), ("machine", "cpus"), ("machine", "gpu"), ("machine", "governor"))
    found = [
        f"another {name}: {old} and {new}"
        for part, name in places
        if (old := _part(a, part).get(name)) != (new := _part(b, part).get(name))
    ]
    versions = _part(a, "versions"), _part(b, "versions")
    libraries = ("onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "numpy")
    changed = [name for name in libraries if versions[0].get(name) != versions[1].get(name)]
    return found + [f"another {name}: {versions[0].get(name)} and {versions[1].get(name)}" for name in changed]
