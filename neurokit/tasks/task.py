"""What a task is: a kind of work, with how its outputs become answers and how answers are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from neurokit.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from neurokit.quantity import Quantity
    from neurokit.spec import ModelSpec, TensorSpec


def _itself(predictions: np.ndarray) -> np.ndarray:
    return predictions


@dataclass(frozen=True)
class TaskInfo:
    """What a listing says of a task.

    Attributes:
        name: Name in specifications and manifests.
        summary: One line.
        headline: The metric that stands in tables.
        metrics: What every metric is, by name: one line with unit, range and source.
        labels: What a label is, one line.
        less_is_better: Metrics that are the better the smaller they are.
        no_shares: Metrics that are no shares of one, and are not shown in percent.
        decide: What of the predictions is a decision, which two lowered forms either share or do not; None where
            there is none, as of an embedding. Default is all of it.
    """

    name: str
    summary: str
    headline: str
    metrics: Mapping[str, str] = field(default_factory=dict)
    labels: str = ""
    less_is_better: frozenset[str] = frozenset()
    no_shares: frozenset[str] = frozenset()
    decide: Callable[[np.ndarray], np.ndarray] | None = _itself


class Task(Protocol):
    """A kind of work. Runs on numpy arrays: what a lowered model returns needs no torch to be read."""

    info: TaskInfo

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns one sample as a model takes it, without time and batch.

        Raises:
            InputError: If it is no sample of this kind.
        """
        ...

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns what the model's outputs `[B, ...]` say, one prediction a sample: labels, scores, masks."""
        ...

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns every metric of all predictions against the labels.

        Raises:
            InputError: If the labels are no labels of this task.
        """
        ...

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns one prediction as a person or a program wants it: plain JSON values."""
        ...


@runtime_checkable
class SavesPredictions(Protocol):
    """A task whose predictions are files, too, such as masks.

    Attributes:
        ending: What a file's name ends in, behind that of the sample.
    """

    ending: str

    def save(self, prediction: np.ndarray, sample: Any, path: Path, settings: Mapping[str, Any]) -> None:
        """Writes the prediction of a sample to a file, whole or not at all."""
        ...


_T = TypeVar("_T", bound=Task)

TASKS: Registry[Task] = Registry("task", "neurokit.tasks", "neurokit.tasks", command="neurokit list tasks")


def register_task(cls: type[_T]) -> type[_T]:
    """Registers a task class under `cls.info.name`; it is instantiated without arguments."""
    TASKS.add(cls.info.name, cls())
    return cls


def task_of(spec: ModelSpec) -> tuple[Task, dict[str, Any]] | None:
    """Returns a model's task and its settings, or None if it names none.

    Raises:
        UnknownNameError: If it names a task that is not registered.
    """
    if spec.task is None:
        return None
    return TASKS.get(spec.task.name), dict(spec.task.settings)
