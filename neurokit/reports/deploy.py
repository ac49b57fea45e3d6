"""The report of `neurokit deploy`: what each form of a model gives on each device and chip, and which one to use."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from neurokit.atomic import write_text
from neurokit.quantity import Quantity
from neurokit.reports._base import Report

RowStatus = Literal["ok", "invalid", "lower-bound", "failed"]
HERE = "this machine"


@dataclass(frozen=True)
class Metric:
    """The headline metric of the model's task.

    Attributes:
        name: Its name.
        share: Whether it is a share of one, shown in percent.
        less_is_better: Whether a smaller value is better.
    """

    name: str
    share: bool = True
    less_is_better: bool = False

    def loss(self, value: float, best: float) -> float:
        """Returns how much worse a value is than the best: points of a share, else in the metric's own unit."""
        away = value - best if self.less_is_better else best - value
        return away * 100 if self.share else away


@dataclass(frozen=True)
class DeployRow:
    """One form of the model at one place.

    Attributes:
        form: What it is called: "onnx-int8", "onnx exact", "spiking" on a chip.
        target: Target, or the chip's name.
        numerics: "float", "exact", "int8".
        device: "this machine", the device as ssh takes it, or the chip's title.
        status: "ok"; "invalid": measured, but the latency carries no claim; "lower-bound": part of it has no price;
            "failed": there are no figures.
        reason: Why it is not "ok".
        figures: Quantities by name: the task's metric, p50, p99, size, memory, energy, and a
            microcontroller's flash and ram.
        parity: Verdict of the verification, or "".
        artifact: Folder of the artifact, or "".
        simulated: Whether it is a chip that was simulated.
        time_steps: T, or None.
        notes: One line each: what a reader must know.
    """

    form: str
    target: str
    numerics: str
    device: str
    status: RowStatus
    reason: str = ""
    figures: dict[str, Quantity] = field(default_factory=dict)
    parity: str = ""
    artifact: str = ""
    simulated: bool = False
    time_steps: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in lists."""
        return f"{self.form} on {self.device}"


@dataclass(frozen=True)
class DeployReport(Report):
    """What to deploy, and why.

    Attributes:
        model: Name of the model.
        data: How the data were understood, in one line.
        samples: Samples that were scored or priced.
        metric: The task's headline metric, or None where the data have no labels.
        source_score: That metric of the model itself in PyTorch, or None.
        rows: Every form at every place.
        recommended: Index of the row to use, or None where there is none.
        answer: What to use and why, one sentence each; the first is the headline.
        budget: The budget as it was given, or "".
        warnings: What makes the figures those of another network or of noise.
        notes: One line each: how it was done.
        steps_done: Steps that were done in this run.
        steps_kept: Steps whose results were there already.
        folder: Where everything lies.
        provenance: Versions and machine of the run.
    """

    KIND: ClassVar[str] = "deploy"

    model: str
    data: str
    samples: int
    metric: Metric | None
    source_score: Quantity | None
    rows: tuple[DeployRow, ...]
    recommended: int | None
    answer: tuple[str, ...]
    budget: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    steps_done: int = 0
    steps_kept: int = 0
    folder: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> DeployRow | None:
        """The row to use, or None."""
        return None if self.recommended is None else self.rows[self.recommended]

    def __repr__(self) -> str:
        return f"DeployReport({self.model!r}, {len(self.rows)} rows: {self.answer[0] if self.answer else 'no answer'})"

    def save_json(self, path: str | Path) -> Path:
        """Writes the report as JSON, whole or not at all."""
        write_text(Path(path), json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")
        return Path(path)

    def _derived(self) -> dict[str, Any]:
        return {"best": None if self.best is None else self.best.name}
