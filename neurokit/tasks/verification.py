"""Verification: do two samples come from one source (speaker, face)? Judged by the distance of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.waves import read_wave
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks.libraries import sklearn_metrics
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec


@register_task
class Verification:
    """Embeddings of unit length, compared pair by pair with their cosine; a label is the number of the source."""

    info = TaskInfo(
        name="verification",
        summary="whether two samples come from one source, by the cosine of their embeddings",
        headline="eer",
        metrics={
            "eer": "equal error rate over all pairs: misses as frequent as false alarms; 0 to 0.5, less is better",
            "auc": "area under the receiver operating characteristic over all pairs (scikit-learn); 0.5 to 1",
        },
        labels="number of the source (the speaker) of each sample",
        less_is_better=frozenset({"eer"}),
        decide=None,
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns an array as the model takes it; of a path the recording there, at the setting sample_rate."""
        if isinstance(sample, str | Path):
            return read_wave(Path(sample), port, int(settings.get("sample_rate", 16_000))).astype(port.dtype)
        array = np.asarray(sample)
        if array.ndim != len(port.shape):
            raise InputError(f"a sample of shape {list(array.shape)}", expected=f"{list(port.shape)}")
        return array.astype(port.dtype)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns embeddings of unit length, `[B, features]`."""
        y = np.asarray(next(iter(outputs.values())), dtype=np.float64)
        y = y.reshape(len(y), -1)
        return y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12)

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns equal error rate and area under the curve over all pairs of samples."""
        metrics = sklearn_metrics("verification")

        first, second = np.triu_indices(len(predictions), k=1)
        same = labels[first] == labels[second]
        if same.all() or not same.any():
            raise InputError("all pairs are of one kind", expected="pairs of one source and pairs of two")
        cosine = (predictions[first] * predictions[second]).sum(1)
        alarms, hits, _ = metrics.roc_curve(same, cosine)
        # Linear between the two points of the curve around the crossing.
        crossing = np.interp(0.0, alarms - (1.0 - hits), alarms)
        source = f"{len(same)} pairs of {len(predictions)} samples"
        return {
            "eer": Quantity.exact(float(crossing), "", "measured", source),
            "auc": Quantity.exact(float(metrics.roc_auc_score(same, cosine)), "", "measured", source),
        }

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns the embedding."""
        return {"embedding": [float(value) for value in prediction]}
