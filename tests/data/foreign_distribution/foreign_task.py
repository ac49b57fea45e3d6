"""A task of another distribution: the sign of the first output."""

import numpy as np

from neurokit.quantity import Quantity
from neurokit.tasks import TaskInfo, register_task


@register_task
class Sign:
    """Whether the first output is positive."""

    info = TaskInfo(
        "sign", "the sign of the first output", "right", {"right": "share of right signs, 0 to 1"}, "0 or 1"
    )

    def preprocess(self, sample, port, settings):
        return np.asarray(sample, dtype=port.dtype)

    def predict(self, outputs, settings):
        y = next(iter(outputs.values()))
        return (y.reshape(len(y), -1)[:, 0] > 0).astype(int)

    def score(self, predictions, labels, settings):
        share = float((predictions == labels).mean())
        return {"right": Quantity.exact(share, "", "measured", f"{len(labels)} samples")}

    def answer(self, prediction, settings):
        return {"positive": bool(prediction)}
