"""Classification: one of several classes for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.images import image_sample
from neurokit.errors import InputError, MissingRuntimeError
from neurokit.quantity import Quantity
from neurokit.tasks.choice import best_class, softmax
from neurokit.tasks.intervals import wilson
from neurokit.tasks.libraries import sklearn_metrics
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec


@register_task
class Classification:
    """The class with the largest output; settings: classes (names), mean, std, resize (see `neurokit.data.images`)."""

    info = TaskInfo(
        name="classification",
        summary="one of several classes for each sample",
        headline="accuracy",
        metrics={
            "accuracy": "share of samples whose largest output is the right class; 95 % Wilson interval",
            "top_3": "share of samples whose right class is among the three largest outputs",
            "macro_f1": "mean over the classes of the harmonic mean of precision and recall (scikit-learn)",
        },
        labels="number of the right class, from 0",
        decide=best_class,
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns an image as the model takes it."""
        return image_sample(sample, port, settings)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns the scores of all classes, `[B, classes]`."""
        scores = np.asarray(next(iter(outputs.values())))
        return scores.reshape(len(scores), -1)

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns accuracy, top-3 accuracy (for more than three classes) and macro F1."""
        count = predictions.shape[1]
        check_labels(labels, count)
        chosen = best_class(predictions)
        found = {"accuracy": wilson(int((chosen == labels).sum()), len(labels), "samples")}
        if count > 3:
            best = np.argsort(-predictions, axis=1, kind="stable")[:, :3]
            found["top_3"] = wilson(int((best == labels[:, None]).any(1).sum()), len(labels), "samples")
        try:
            f1_score = sklearn_metrics("classification").f1_score
        except MissingRuntimeError:  # accuracy needs no library, and is there without it
            return found
        f1 = float(f1_score(labels, chosen, average="macro", zero_division=0.0))
        found["macro_f1"] = Quantity.exact(f1, "", "measured", f"scikit-learn {version('scikit-learn')}")
        return found

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns the class, its name and its probability (softmax of the scores)."""
        best = int(best_class(prediction))
        names = settings.get("classes") or ()
        return {
            "class": best,
            "name": names[best] if best < len(names) else str(best),
            "probability": float(softmax(prediction)[best]),
        }


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Refuses labels that are no numbers of classes.

    Raises:
        InputError: If a label is no whole number, negative, or as large as the number of classes.
    """
    if labels.ndim != 1:
        raise InputError(f"labels are {list(labels.shape)}", expected="one label for each input")
    if labels.dtype.kind not in "iu" or (labels.size and (labels.min() < 0 or labels.max() >= classes)):
        low, high = (labels.min(), labels.max()) if labels.size else ("none", "none")
        raise InputError(
            f"labels from {low} to {high} of type {labels.dtype}", expected=f"whole numbers from 0 to {classes - 1}"
        )
