"""Generation: the next token, scored by the likelihood of a given text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks.choice import best_class
from neurokit.tasks.intervals import wilson
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec

PADDING = -1


@register_task
class Generation:
    """Logits of every position's next token; labels are the tokens that came, -1 where none counts."""

    info = TaskInfo(
        name="generation",
        summary="the next token of a text",
        headline="perplexity",
        metrics={
            "perplexity": "exp of the mean negative log likelihood of the labels; from 1, less is better",
            "accuracy": "share of positions whose most likely token came; 95 % Wilson interval",
        },
        labels="number of the token that came at every position, -1 where none counts",
        less_is_better=frozenset({"perplexity"}),
        no_shares=frozenset({"perplexity"}),
        decide=best_class,
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns token numbers as the model takes them.

        Raises:
            InputError: If they are no whole numbers.
        """
        ids = np.asarray(sample)
        if ids.dtype.kind not in "iu":
            raise InputError(f"tokens of type {ids.dtype}", expected="whole numbers")
        return ids.astype(port.dtype)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns log probabilities `[B, L, vocabulary]` in float64."""
        y = np.asarray(next(iter(outputs.values())), dtype=np.float64)
        shifted = y - y.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns perplexity and accuracy over all positions that count."""
        if labels.shape != predictions.shape[:-1] or labels.dtype.kind != "i":
            raise InputError(
                f"labels are {labels.dtype} {list(labels.shape)}",
                expected=f"signed whole numbers {list(predictions.shape[:-1])}",
            )
        counted = labels != PADDING
        if not counted.any():
            raise InputError("no position counts", expected="at least one label that is not -1")
        rows, right = predictions[counted], labels[counted]
        likelihood = rows[np.arange(len(right)), right]
        perplexity = float(np.exp(-likelihood.mean()))
        return {
            "perplexity": Quantity.exact(perplexity, "", "measured", f"{right.size} positions"),
            "accuracy": wilson(int((best_class(rows) == right).sum()), right.size, "positions"),
        }

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns the most likely token at every position."""
        return {"tokens": [int(token) for token in best_class(prediction)]}
