"""Detection: boxes around the objects in an image, each with a class and a score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.images import image_or_array
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks.average_precision import THRESHOLDS, average_precision
from neurokit.tasks.boxes import corners, decoded, suppressed
from neurokit.tasks.choice import softmax
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec

NONE = -1  # class of a row that holds no box
_ACTIVATIONS = ("none", "sigmoid", "softmax")


@register_task
class Detection:
    """Boxes by the scores of their classes, one a place after non-maximum suppression within each class.

    Settings, all of them optional:
        boxes, scores: Names of the outputs `[B, A, 4]` and `[B, A, classes]`; without them the first output holds both,
            `[B, A, 4 + classes]`.
        labels: Name of an output `[B, A]` of classes, where the model chose them itself; scores are `[B, A]` then.
        channels_first: Whether these are `[B, 4, A]`, `[B, classes, A]` or `[B, 4 + classes, A]`.
        format: "xyxy" (default), "xywh" or "cxcywh".
        anchors, weights: Corners of every anchor, `[A, 4]`, where the boxes are offsets from them, and what these are
            divided by (default 1, 1, 1, 1).
        scale: Width and height by which boxes in shares of the image are multiplied.
        activation: Of the scores: "none" (default), "sigmoid" or "softmax".
        background: Number of the class that is no object; it is left out, and later classes move down by one.
        score_threshold (0.05), iou_threshold (0.5), most (100): What is kept.
        classes, mean, std: Names; see `neurokit.data.images`.
    """

    info = TaskInfo(
        name="detection",
        summary="boxes around objects, each with a class and a score",
        headline="map",
        metrics={
            "map": "mean average precision over classes and IoU 0.50 to 0.95 in steps of 0.05 (COCO); 0 to 1",
            "map_50": "mean average precision over classes at IoU 0.50; 0 to 1",
            "map_75": "mean average precision over classes at IoU 0.75; 0 to 1",
            "mar_100": "mean largest recall over classes and IoU, 100 boxes a class and image (COCO); 0 to 1",
        },
        labels="rows of class, left, top, right, bottom, [N, M, 5], in the boxes' unit; class -1 fills up",
        decide=lambda rows: rows[..., 0],
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns an image as the model takes it; an array of the input's own shape is taken as it is."""
        return image_or_array(sample, port, settings)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns the boxes of each sample, best first, `[B, most, 6]`: class, score, left, top, right, bottom.

        Rows without a box have class -1.

        Raises:
            InputError: If outputs or settings do not go together.
        """
        boxes, scores, labels = _read(outputs, settings)
        return np.stack(
            [
                _kept(box, score, None if labels is None else labels[row], settings)
                for row, (box, score) in enumerate(zip(boxes, scores, strict=True))
            ]
        )

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns mean average precision (COCO's, at IoU 0.50 and at 0.75) and mean recall."""
        if labels.ndim != 3 or labels.shape[-1] != 5 or len(labels) != len(predictions):
            raise InputError(
                f"labels are {list(labels.shape)}",
                expected=f"[{len(predictions)}, M, 5]: class, left, top, right, bottom",
            )
        classes = labels[..., 0]
        present = classes != NONE
        if (classes != np.round(classes)).any() or (classes[present] < 0).any():
            raise InputError("a label's class is no whole number from 0", expected="-1 for rows that hold no object")
        if not present.any():
            raise InputError("no label holds an object", expected="at least one object")
        images = []
        for said, right, there in zip(predictions, labels, present, strict=True):
            rows, objects = said[said[:, 0] != NONE], right[there]
            images.append((rows[:, 0], rows[:, 1], rows[:, 2:], objects[:, 0], objects[:, 1:].astype(np.float64)))
        precision, recall = average_precision(images)
        source = f"{int(present.sum())} objects of {precision.shape[1]} classes in {len(labels)} samples"
        at = {f"map_{100 * t:.0f}": precision[row].mean() for row, t in enumerate(THRESHOLDS) if row in (0, 5)}
        found = {"map": precision.mean(), **at, "mar_100": recall.mean()}
        return {name: Quantity.exact(float(value), "", "measured", source) for name, value in found.items()}

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns every box with its class, its name and its score."""
        names = settings.get("classes") or ()
        return {
            "objects": [
                {
                    "class": int(row[0]),
                    "name": names[int(row[0])] if int(row[0]) < len(names) else str(int(row[0])),
                    "score": float(row[1]),
                    "box": [float(value) for value in row[2:]],
                }
                for row in prediction
                if row[0] != NONE
            ]
        }


def _read(
    outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns corners `[B, A, 4]`, scores of objects `[B, A, classes]` and, where the model chose, classes `[B, A]`."""
    if "boxes" in settings or "scores" in settings:
        boxes, scores = (_named(outputs, settings.get(name, name)) for name in ("boxes", "scores"))
    else:
        both = _turned(np.asarray(next(iter(outputs.values())), np.float64), settings)
        if both.ndim != 3 or both.shape[-1] < 5:
            raise InputError(f"an output {list(both.shape)}", expected="[B, A, 4 + classes], or settings boxes, scores")
        return _boxes(both[..., :4], settings), _active(both[..., 4:], settings), None
    boxes = _boxes(_turned(boxes, settings), settings)
    labels = _named(outputs, settings["labels"]) if "labels" in settings else None
    scores = scores if labels is not None else _active(_turned(scores, settings), settings)
    if boxes.ndim != 3 or scores.shape[:2] != boxes.shape[:2] or scores.ndim != (3 if labels is None else 2):
        raise InputError(
            f"boxes {list(boxes.shape)} and scores {list(scores.shape)}",
            expected="[B, A, 4] and [B, A, classes], or [B, A] beside labels",
        )
    return boxes, scores, labels


def _named(outputs: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in outputs:
        raise InputError(f"there is no output {name!r}", expected="one of " + ", ".join(outputs))
    return np.asarray(outputs[name], dtype=np.float64)


def _turned(values: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    return np.swapaxes(values, 1, 2) if settings.get("channels_first") and values.ndim == 3 else values


def _boxes(boxes: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    if settings.get("anchors") is not None:
        anchors = np.asarray(settings["anchors"], dtype=np.float64)
        if anchors.shape != boxes.shape[1:]:
            raise InputError(f"anchors {list(anchors.shape)}", expected=f"{list(boxes.shape[1:])}, one a box")
        boxes = decoded(boxes, anchors, tuple(settings.get("weights", (1.0, 1.0, 1.0, 1.0))))
    else:
        boxes = corners(boxes, settings.get("format", "xyxy"))
    scale = np.broadcast_to(np.asarray(settings.get("scale", 1.0), dtype=np.float64), (2,))
    return boxes * np.tile(scale, 2)


def _active(scores: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """Returns scores of objects, `[B, A, classes]`, without the background."""
    kind = settings.get("activation", "none")
    if kind not in _ACTIVATIONS:
        raise InputError(f"activation {kind!r}", expected="one of " + ", ".join(_ACTIVATIONS))
    if kind == "sigmoid":
        scores = 0.5 * (1.0 + np.tanh(0.5 * scores))  # without overflow
    elif kind == "softmax":
        scores = softmax(scores)
    background = settings.get("background")
    return scores if background is None else np.delete(scores, int(background), axis=-1)


def _kept(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None, settings: Mapping[str, Any]) -> np.ndarray:
    """Returns what is kept of one sample, `[most, 6]`."""
    least, overlap = float(settings.get("score_threshold", 0.05)), float(settings.get("iou_threshold", 0.5))
    most = int(settings.get("most", 100))
    classes = np.unique(labels).astype(int) if labels is not None else np.arange(scores.shape[-1])
    rows = []
    for number in classes:
        values = scores[:, number] if labels is None else np.where(labels == number, scores, -np.inf)
        chosen = np.flatnonzero(values > least)
        kept = chosen[suppressed(boxes[chosen], values[chosen], overlap)]
        head = np.stack([np.full(len(kept), float(number)), values[kept]], axis=1)
        rows.append(np.concatenate([head, boxes[kept]], axis=1))
    found = np.concatenate(rows) if rows else np.zeros((0, 6))
    found = found[np.argsort(-found[:, 1], kind="stable")][:most]
    empty = np.tile(np.array([float(NONE), 0.0, 0.0, 0.0, 0.0, 0.0]), (most - len(found), 1))
    return np.concatenate([found, empty])
