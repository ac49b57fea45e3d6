"""What a training run did and how good the network got."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from neurokit.quantity import Quantity
from neurokit.reports._base import Report


@dataclass(frozen=True)
class TrainingReport(Report):
    """One training run.

    Attributes:
        model: Name of the model.
        folder: Where its files are.
        weights: File with the weights of the last epoch, as `--weights` takes it. No epoch is chosen by its score on
            the validation set, so that the score stands for what was not learned from.
        train_data: What was learned from.
        val_data: What the metrics are of.
        synthetic: Whether the images were drawn by a program.
        train_images: How many were learned from.
        val_images: How many the metrics are of.
        unreadable: Path and reason of each file that was left out.
        classes: Names of the classes.
        recipe: Every setting of the training.
        seed: Seed of all chance.
        epochs: Epochs done, those before a resumption included.
        precision: "fp32", "fp16" or "bf16".
        devices: How many devices, and of what kind.
        metrics: top_1, top_2 and top_3 (share of right answers among so many), macro_f1.
        confusion: Validation images by right class (row) and answer (column).
        history: Metrics and loss after each epoch of this run.
        seconds: Wall-clock time of this run's training.
        versions: Of the libraries.
        preprocess: What was declared to be done to an image first, in one line.
    """

    KIND: ClassVar[str] = "training"

    model: str
    folder: str
    weights: str
    train_data: str
    val_data: str
    synthetic: bool
    train_images: int
    val_images: int
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    seed: int
    epochs: int
    precision: str
    devices: str
    metrics: dict[str, Quantity]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float
    history: tuple[dict[str, float], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    preprocess: str = ""

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {quantity.text()}" for name, quantity in self.metrics.items())
        return f"TrainingReport({self.model!r} in {self.folder!r}: {self.epochs} epochs, {found})"

    @property
    def most_confused(self) -> tuple[tuple[str, str, int], ...]:
        """Right class, answer and how often, for the five most frequent mistakes."""
        wrong = [
            (count, right, answer)
            for right, row in enumerate(self.confusion)
            for answer, count in enumerate(row)
            if right != answer and count
        ]
        names = self.classes or tuple(map(str, range(len(self.confusion))))
        worst = sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))[:5]
        return tuple((names[right], names[answer], count) for count, right, answer in worst)
