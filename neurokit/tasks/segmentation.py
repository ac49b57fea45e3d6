"""Segmentation: a class for every pixel or voxel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.images import image_or_array
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks.choice import best_class
from neurokit.tasks.masks import size_of, write_mask
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec


@register_task
class Segmentation:
    """The class with the largest output at every place; one channel is a mask by its sign.

    Settings: background (number of a class that no metric counts, or None), regions (names of masks that may lie over
    one another, each by the sign of its own channel), mean, std (see `neurokit.data.images`).
    """

    ending = "_mask.png"
    info = TaskInfo(
        name="segmentation",
        summary="a class for every pixel or voxel",
        headline="dice",
        metrics={
            "dice": "mean over the classes of 2 |A and B| / (|A| + |B|), counted over all samples; 0 to 1",
            "miou": "mean over the classes of |A and B| / |A or B|, counted over all samples; 0 to 1",
        },
        labels="number of the class at every place, from 0, in the shape of the output without its channels; of "
        "regions 1 inside and 0 outside, in its whole shape",
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns an image as the model takes it; an array of the input's own shape is taken as it is."""
        return image_or_array(sample, port, settings)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns the class of every place, `[B, ...]` of uint8 or uint16, or masks of regions, `[B, K, ...]`."""
        scores = np.asarray(next(iter(outputs.values())))
        if settings.get("regions"):
            return (scores > 0).astype(np.uint8)
        chosen = (scores[:, 0] > 0) if scores.shape[1] == 1 else best_class(scores, axis=1)
        return chosen.astype(np.uint8 if scores.shape[1] <= 256 else np.uint16)

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns Dice and mean intersection over union over the classes or regions that occur."""
        if labels.shape != predictions.shape or labels.dtype.kind not in "iub":
            raise InputError(
                f"labels are {labels.dtype} {list(labels.shape)}", expected=f"whole numbers {list(predictions.shape)}"
            )
        kind, masks = _masks(predictions, labels, settings)
        counts = [((a & b).sum(), (a | b).sum(), a.sum() + b.sum()) for a, b in masks]
        source = f"{len(labels)} samples, {len(counts)} {kind}"
        # Nothing but background, and nothing else was said: as it should be.
        both, either, sizes = np.array(counts or [(1, 1, 2)], dtype=np.float64).T
        return {
            "dice": Quantity.exact(float((2 * both / sizes).mean()), "", "measured", source),
            "miou": Quantity.exact(float((both / either).mean()), "", "measured", source),
        }

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns the share of places of every class or region."""
        regions = settings.get("regions")
        if regions:
            return {"shares": dict(zip(regions, (float(mask.mean()) for mask in prediction), strict=True))}
        numbers, counts = np.unique(prediction, return_counts=True)
        return {"shares": {str(n): float(c / prediction.size) for n, c in zip(numbers, counts, strict=True)}}

    def save(self, prediction: np.ndarray, sample: Any, path: Path, settings: Mapping[str, Any]) -> None:
        """Writes the mask of a picture in the picture's own size."""
        if prediction.ndim != 2:
            raise InputError(f"a mask of sizes {list(prediction.shape)} is no picture", expected="a model of pictures")
        write_mask(prediction, size_of(sample), path)


def _masks(
    predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]
) -> tuple[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Returns what masks are of, and those that were said beside the right ones, as far as there is anything inside."""
    if settings.get("regions"):
        pairs = [(predictions[:, at] != 0, labels[:, at] != 0) for at in range(predictions.shape[1])]
        return "regions", [(a, b) for a, b in pairs if a.any() or b.any()]
    background = settings.get("background")
    classes = [int(c) for c in np.union1d(predictions, labels) if c != background]
    return "classes", [(predictions == number, labels == number) for number in classes]
