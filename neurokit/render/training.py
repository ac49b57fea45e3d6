"""A training run, as lines of text."""

from __future__ import annotations

from rich.console import RenderableType
from rich.markup import escape

from neurokit.render.tables import plain_table
from neurokit.reports.training import TrainingReport
from neurokit.tasks.scoring import shown

_FILES = 5


def training(report: TrainingReport) -> list[RenderableType]:
    """Returns the metrics with what they are of, the most frequent mistakes, and files that were left out."""
    table = plain_table("metric", "value", "95 % from", "to")
    for name, value in report.metrics.items():
        low, high = (shown(end, True) if value.low != value.high else "" for end in (value.low, value.high))
        table.add_row(name, shown(value.value, True), low, high)
    drawn = "synthetic images: " if report.synthetic else ""
    of = f"of {drawn}{report.val_data}, {report.val_images:,} images that were not learned from"
    learned = f"learned from {report.train_data}, {report.train_images:,} images, {report.epochs} epochs"
    parts: list[RenderableType] = [
        table,
        escape(of),
        escape(f"{learned}, {report.seconds:.0f} s on {report.devices}, {report.precision}"),
    ]
    if report.most_confused:
        said = ", ".join(f"{right} for {answer} {count}" for right, answer, count in report.most_confused)
        parts.append(escape(f"most frequent mistakes (right for answer): {said}"))
    if report.unreadable:
        parts.append(f"{len(report.unreadable)} files cannot be read and were left out:")
        parts += [escape(f"  {path}: {why}") for path, why in report.unreadable[:_FILES]]
        if len(report.unreadable) > _FILES:
            parts.append(f"  and {len(report.unreadable) - _FILES} more, in record.json")
    return parts
