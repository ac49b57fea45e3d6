"""Sequence labelling: a class for every element of a sequence, such as the emotion of every utterance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks.choice import best_class
from neurokit.tasks.intervals import wilson
from neurokit.tasks.libraries import sklearn_metrics
from neurokit.tasks.skip_chain import PADDING, Field, best_path
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec


@register_task
class SequenceLabelling:
    """The class with the largest output at every element; elements labelled -1 are padding and do not count.

    Settings, all of them optional:
        classes: Names of the classes.
        skip_chain: Names of the outputs that hold the speakers `[B, L]` and the parts of a skip-chain random field
            ("speakers", "start", "end", "same", "other"); the best labelling by it is decoded, exactly.
    """

    info = TaskInfo(
        name="sequence_labelling",
        summary="a class for every element of a sequence",
        headline="weighted_f1",
        metrics={
            "weighted_f1": "F1 of the classes, weighted by how often they occur (scikit-learn); 0 to 1",
            "accuracy": "share of elements whose largest output is the right class; 95 % Wilson interval",
        },
        labels="number of the right class of every element, -1 for padding",
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns an array as the model takes it."""
        return np.asarray(sample).astype(port.dtype)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns the class of every element, `[B, L]`, from `[B, L, classes]`; whole numbers are classes already."""
        y = np.asarray(next(iter(outputs.values())))
        if settings.get("skip_chain"):
            return _decoded(y, outputs, settings["skip_chain"])
        return y if y.dtype.kind in "iu" else best_class(y)

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns weighted F1 and accuracy over all elements that are no padding."""
        if labels.shape != predictions.shape or labels.dtype.kind != "i":
            raise InputError(
                f"labels are {labels.dtype} {list(labels.shape)}",
                expected=f"signed whole numbers {list(predictions.shape)}",
            )
        counted = labels != PADDING
        right, said = labels[counted], predictions[counted]
        if not right.size:
            raise InputError("every label is padding", expected="at least one element that counts")
        f1 = float(sklearn_metrics("sequence labelling").f1_score(right, said, average="weighted", zero_division=0.0))
        return {
            "weighted_f1": Quantity.exact(f1, "", "measured", f"{right.size} elements"),
            "accuracy": wilson(int((right == said).sum()), right.size, "elements"),
        }

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns the classes, by name where names are given."""
        names = settings.get("classes") or ()
        return {
            "labels": [names[int(c)] if 0 <= int(c) < len(names) else int(c) for c in prediction if int(c) != PADDING]
        }


def _decoded(emissions: np.ndarray, outputs: Mapping[str, np.ndarray], names: Mapping[str, str]) -> np.ndarray:
    """Returns the best labelling of every sequence by the random field that the model gives, -1 behind its end."""
    missing = sorted({name for name in names.values() if name not in outputs})
    if missing:
        raise InputError(f"there is no output {missing[0]!r}", expected="one of " + ", ".join(outputs))
    speakers = np.asarray(outputs[names["speakers"]])
    said = np.full(speakers.shape, PADDING, dtype=np.int64)
    for row, who in enumerate(speakers):
        valid = who != PADDING
        field = Field(*(np.asarray(outputs[names[part]])[row] for part in ("start", "end", "same", "other")))
        if valid.any():
            said[row, valid] = best_path(emissions[row, valid], who[valid], field)
    return said
