"""One line of the page's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from neurokit.page.metrics import Metric
from neurokit.quantity import Quantity


@dataclass(frozen=True)
class Row:
    """One line of the big table.

    Attributes:
        model: Name of the model.
        target: Target, or the chip.
        variant: What tells rows of one target apart.
        numerics: "float", "exact", "int8" and the like.
        time_steps: T, or None.
        scenario: What one sample is, or "" without a latency.
        parity: Verdict of the verification, or "".
        figures: Quantities by column: the task's metric by its name, p50, p90, p95, p99, mean, per_step, throughput,
            memory, gpu_memory, load, first, size, energy.
        samples_s: Latency samples, for the distribution.
        verdict: "VALID", "INVALID" or "".
        remarks: What a reader must know: reasons, a verification that failed.
        machine: Where it was measured, or the tool that simulated it.
        simulated: Whether it is a chip that was simulated.
        metric: Which of the figures is the metric of the model's task, or None without one.
    """

    model: str
    target: str
    variant: str = ""
    numerics: str = "float"
    time_steps: int | None = None
    scenario: str = ""
    parity: str = ""
    figures: Mapping[str, Quantity] = field(default_factory=dict)
    samples_s: tuple[float, ...] = ()
    verdict: str = ""
    remarks: tuple[str, ...] = ()
    machine: str = ""
    simulated: bool = False
    metric: Metric | None = None

    @property
    def name(self) -> str:
        """What the row is called in lists."""
        steps = f"T={self.time_steps}" if self.time_steps else ""
        return " · ".join(part for part in (self.series, steps, self.scenario) if part)

    @property
    def series(self) -> str:
        """What it shares with the same network at another T."""
        numerics = self.numerics if self.numerics != "float" else ""
        return " · ".join(part for part in (self.model, self.target, self.variant, numerics) if part)
