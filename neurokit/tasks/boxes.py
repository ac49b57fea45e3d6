"""Boxes: their forms, overlaps and non-maximum suppression; numpy alone, as on a device."""

from __future__ import annotations

import numpy as np

from neurokit.errors import InputError

FORMATS = ("xyxy", "xywh", "cxcywh")
# Largest change of a box's size, as in Faster R-CNN's decoder: 1000 / 16 times.
_MOST_GROWTH = float(np.log(1000.0 / 16.0))


def corners(boxes: np.ndarray, form: str) -> np.ndarray:
    """Returns boxes `[..., 4]` as left, top, right, bottom.

    Args:
        boxes: In the given form.
        form: "xyxy", "xywh" (left, top, width, height) or "cxcywh" (centre, width, height).

    Raises:
        InputError: If there is no such form.
    """
    if form not in FORMATS:
        raise InputError(f"boxes of format {form!r}", expected="one of " + ", ".join(FORMATS))
    if form == "xyxy":
        return boxes
    first, size = boxes[..., :2], boxes[..., 2:]
    low = first - size / 2 if form == "cxcywh" else first
    return np.concatenate([low, low + size], axis=-1)


def decoded(offsets: np.ndarray, anchors: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """Returns boxes `[..., A, 4]` as corners, from what a detector adds to its anchors.

    The centre moves by a share of the anchor's size, the size grows by an exponential (Girshick et al., "Rich feature
    hierarchies", CVPR 2014, appendix C), both divided by weights as in Faster R-CNN and SSD.

    Args:
        offsets: dx, dy, dw, dh of each anchor, `[..., A, 4]`.
        anchors: Corners of each anchor, `[A, 4]`.
        weights: What the four were multiplied by in training, such as (10, 10, 5, 5).
    """
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2
    shares = offsets / np.asarray(weights, dtype=np.float64)
    middle = centre + shares[..., :2] * size
    grown = np.exp(np.minimum(shares[..., 2:], _MOST_GROWTH)) * size
    return np.concatenate([middle - grown / 2, middle + grown / 2], axis=-1)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns intersection over union of every box of `a` `[N, 4]` with every one of `b` `[M, 4]`, `[N, M]`."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0.0, None).prod(-1)
    areas_a, areas_b = (np.clip(x[:, 2:] - x[:, :2], 0.0, None).prod(-1) for x in (a, b))
    either = areas_a[:, None] + areas_b[None] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def suppressed(boxes: np.ndarray, scores: np.ndarray, most_overlap: float) -> np.ndarray:
    """Returns which boxes stay: greedily the best, and none that overlaps one that stays by more than a limit.

    Args:
        boxes: Corners, `[N, 4]`.
        scores: `[N]`.
        most_overlap: Intersection over union up to which two boxes stay side by side.

    Returns:
        Their numbers, best first.
    """
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while waiting.size:
        best, rest = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = rest[overlaps(boxes[best : best + 1], boxes[rest])[0] <= most_overlap]
    return np.asarray(kept, dtype=np.int64)
