"""What comparing a captured program with the user's own module found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from neurokit.reports._base import Report

Side = Literal["program", "twin", "steps"]


@dataclass(frozen=True)
class Comparison:
    """One run of the user's module beside what was captured of it.

    Attributes:
        side: "program": the traced program; "twin": what is traced for another number of steps; "steps": the same,
            one step a call.
        time_steps: T of the run, or None without time.
        batch: B of the run.
        precision: Numpy name of the element type that both ran in.
        decisions: Spike decisions compared.
        spikes_differ: How many of them differ.
        output_error: Largest relative L2 error of an output.
    """

    side: Side
    time_steps: int | None
    batch: int
    precision: str
    decisions: int
    spikes_differ: int
    output_error: float


@dataclass(frozen=True)
class Fidelity(Report):
    """How a captured program compares with the user's own module, run by its own library on fresh inputs.

    Attributes:
        model: Name of the model.
        comparisons: One entry a run; all of them agreed, or the model would have been refused.
        findings: What the module's answers depend on beside its input; one line each.
        refused: Why the model cannot take a form or a batch, by "step" or "batch".
        not_compared: Runs that were left out, and why; one line each.
        fired: Whether any output moved at all on the inputs that were tried.
        seconds: Time that the comparison took.
    """

    KIND: ClassVar[str] = "fidelity"

    model: str
    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    not_compared: tuple[str, ...] = ()
    fired: bool = True
    seconds: float = 0.0

    @property
    def output_error(self) -> float:
        """Largest relative L2 error of all runs."""
        return max((one.output_error for one in self.comparisons), default=0.0)
