"""What a latency measurement found: raw samples, what follows from them, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from neurokit import statistics as samples
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.reports._base import Report

LatencyVerdict = Literal["VALID", "INVALID"]

_LONGEST_S = 1e9  # thirty years; near the largest float, axes and intervals of it have no number


@dataclass(frozen=True)
class LatencyReport(Report):
    """How long one inference takes on one machine.

    Attributes:
        model: Name of the model.
        target: Name of the target.
        scenario: What one sample is: "single" (one call), "offline" (one large batch), "multi" (one call on each of
            several streams at once), "stream" (one time step); or a measurement's own words.
        batch: Batch size.
        samples_s: Every timed sample, in seconds, in the order of measurement.
        verdict: "VALID", or "INVALID" if the run cannot carry a claim.
        reasons: Why it is INVALID.
        environment: Machine, threads, clocks, load and versions of the run.
        variant: What tells subjects of one target apart, for example "CPU, 2 threads".
        form: Form within the target, for example "sequence" or "step".
        numerics: "float", "exact", "int8" and the like.
        time_steps: Time steps in one sample, or None for a model without time.
        streams: Streams that run at once.
        deadline_s: Period in which each time step is due, or None.
        elapsed_s: How long the measurement took, with the waits between samples.
        load_s: Time to open the model.
        first_s: Time of the first inference.
        bytes_on_disk: Size of the artifact's files.
        memory: Peak memory in bytes: "cpu", "cpu_added" (by loading and running), "gpu".
        phases_s: On a GPU, seconds of each sample in "h2d", "compute" and "d2h", by events of the device.
        energy: Measured energy of one inference, or None without a meter.
        energy_note: Which meter measured, or why none did.
        accuracy: "correct", "total" and "data" where a classifier was given labelled data.
        scores: What the model's task measured on labelled data: "task", "headline", "less_is_better", "share",
            "samples", "data" and "metrics" (quantities by name), or None.
        parity: Verdict of the artifact's verification, or "" for a subject that is no artifact.
        parity_overridden: Whether it was measured although that verification had failed.
        output_error: Relative error of the output on the artifact's test vectors, or None.
        warm_up: Runs, seconds and whether the times had settled.
    """

    KIND: ClassVar[str] = "latency"

    model: str
    target: str
    scenario: str
    batch: int
    samples_s: tuple[float, ...]
    verdict: LatencyVerdict
    reasons: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    variant: str = ""
    form: str = ""
    numerics: str = "float"
    time_steps: int | None = None
    streams: int = 1
    deadline_s: float | None = None
    elapsed_s: float | None = None
    load_s: float | None = None
    first_s: float | None = None
    bytes_on_disk: int | None = None
    memory: dict[str, float] = field(default_factory=dict)
    phases_s: dict[str, tuple[float, ...]] = field(default_factory=dict)
    energy: Quantity | None = None
    energy_note: str = ""
    accuracy: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    parity: str = ""
    parity_overridden: bool = False
    output_error: float | None = None
    warm_up: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.samples_s or not all(0 <= sample <= _LONGEST_S for sample in self.samples_s):
            expected = f"at least one, each a time from 0 to {_LONGEST_S:g} s"
            raise InputError("a latency report needs samples", expected=expected)

    def __repr__(self) -> str:
        where = f"{self.model!r} on {self.target!r}, {self.scenario}, batch {self.batch}"
        middle, count = self.percentile(50).text(), len(self.samples_s)
        return f"LatencyReport({where}: median {middle}, {count} samples, {self.verdict})"

    @classmethod
    def judged(
        cls,
        model: str,
        target: str,
        scenario: str,
        samples_s: Sequence[float],
        *,
        batch: int = 1,
        reasons: Sequence[str] = (),
        environment: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> LatencyReport:
        """Returns a report whose verdict follows from its samples and from `reasons` seen elsewhere."""
        found = (*reasons, *samples.faults(samples_s, more.get("elapsed_s")))
        verdict: LatencyVerdict = "INVALID" if found else "VALID"
        return cls(model, target, scenario, batch, tuple(samples_s), verdict, found, dict(environment or {}), **more)

    def percentile(self, percent: float) -> Quantity:
        """Returns a percentile of the samples with its 95 % interval, both by order statistics.

        Raises:
            InputError: If `percent` is not between 0 and 100.
        """
        if not 0 < percent < 100:
            raise InputError(f"percentile {percent}", expected="more than 0 and less than 100")
        value, low, high = samples.percentile(self.samples_s, percent)
        return Quantity(value, low, high, "s", "measured", f"p{percent:g} of {len(self.samples_s)} samples")

    @property
    def p50(self) -> Quantity:
        """The median, in seconds."""
        return self.percentile(50)

    @property
    def p90(self) -> Quantity:
        """The 90th percentile, in seconds."""
        return self.percentile(90)

    @property
    def p95(self) -> Quantity:
        """The 95th percentile, in seconds."""
        return self.percentile(95)

    @property
    def p99(self) -> Quantity | None:
        """The 99th percentile, in seconds, or None with fewer than 1000 samples."""
        return self.percentile(99) if len(self.samples_s) >= samples.MIN_SAMPLES_P99 else None

    @property
    def mean(self) -> Quantity:
        """The mean, in seconds, with its 95 % interval."""
        value, low, high = samples.mean(self.samples_s)
        return Quantity(value, low, high, "s", "measured", f"mean of {len(self.samples_s)} samples")

    @property
    def variation(self) -> float:
        """Coefficient of variation: standard deviation over mean."""
        return samples.variation(self.samples_s)

    @property
    def throughput(self) -> Quantity:
        """Inferences (in the scenario "stream": time steps) a second."""
        total, count = self.elapsed_s or sum(self.samples_s), len(self.samples_s) * self.batch * self.streams
        rate = count / total if total else 0.0
        return Quantity.exact(rate, "1/s", "measured", f"{count} in {total:.3g} s")

    @property
    def per_step(self) -> Quantity | None:
        """The median of one time step, in seconds, or None for a model without time."""
        if not self.time_steps:
            return None
        return self.p50.scaled(1 / self.time_steps) if self.scenario != "stream" else self.p50

    @property
    def misses(self) -> int | None:
        """Time steps that were not done within their period, or None without a deadline."""
        return None if self.deadline_s is None else sum(sample > self.deadline_s for sample in self.samples_s)

    @property
    def jitter(self) -> Quantity | None:
        """How much later than the median a late time step is (p99, or p95 below 1000 samples); None if not a stream."""
        if self.scenario != "stream":
            return None
        late = self.p99 or self.p95
        return Quantity.exact(late.value - self.p50.value, "s", "measured", f"{late.source.split()[0]} minus p50")

    def _derived(self) -> dict[str, Any]:
        quantities = {
            "p50": self.p50,
            "p90": self.p90,
            "p95": self.p95,
            "p99": self.p99,
            "mean": self.mean,
            "per_step": self.per_step,
            "throughput": self.throughput,
            "jitter": self.jitter,
        }
        summary: dict[str, Any] = {name: value and value.to_json() for name, value in quantities.items()}
        summary |= {
            "min_s": min(self.samples_s),
            "max_s": max(self.samples_s),
            "variation": self.variation,
            "misses": self.misses,
        }
        return {"summary": summary}
