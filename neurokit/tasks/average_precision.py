"""Average precision of detections as COCO defines it; numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurokit.tasks.boxes import overlaps

THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_MOST = 100  # detections of a class in an image that count

Image = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def average_precision(images: Sequence[Image]) -> tuple[np.ndarray, np.ndarray]:
    """Returns average precision and largest recall over the thresholds 0.50, 0.55 ... 0.95 and the classes that occur.

    Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, in the form of its evaluation server: greedy
    matching by score, precision made monotonous, its mean over 101 values of recall; boxes of all sizes, at most 100
    a class and image.

    Args:
        images: For each: classes `[D]`, scores `[D]` and corners `[D, 4]` of what was detected, then classes `[G]` and
            corners `[G, 4]` of what is there.

    Returns:
        Two arrays `[10, classes]`; without any class that occurs `[10, 0]`.
    """
    classes = np.unique(np.concatenate([truth for *_, truth, _ in images])) if images else np.zeros(0)
    found = [_of_class(images, int(number)) for number in classes]
    if not found:
        return np.zeros((len(THRESHOLDS), 0)), np.zeros((len(THRESHOLDS), 0))
    return np.stack([p for p, _ in found], axis=1), np.stack([r for _, r in found], axis=1)


def _of_class(images: Sequence[Image], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns average precision and recall of one class at every threshold."""
    scores, hits, present = [], [], 0
    for classes, confidence, boxes, truth, right in images:
        chosen = np.flatnonzero(classes == number)
        chosen = chosen[np.argsort(-confidence[chosen], kind="stable")][:_MOST]
        there = right[truth == number]
        present += len(there)
        scores.append(confidence[chosen])
        hits.append(_matched(boxes[chosen], there))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit = np.concatenate(hits, axis=1)[:, order]
    right_so_far = np.cumsum(hit, axis=1)
    recall = right_so_far / present
    precision = right_so_far / np.arange(1, hit.shape[1] + 1)
    # What a higher recall still reaches counts for the lower ones too.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    means = []
    for p, r in zip(precision, recall, strict=True):
        at = np.searchsorted(r, _RECALLS, side="left")
        means.append(float(np.append(p, 0.0)[at].mean()))
    last = recall[:, -1] if hit.shape[1] else np.zeros(len(THRESHOLDS))
    return np.asarray(means), last


def _matched(boxes: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns for every threshold which detections, best first, take an object that none took before, `[10, D]`."""
    hit = np.zeros((len(THRESHOLDS), len(boxes)), dtype=bool)
    if not len(there):
        return hit
    share = overlaps(boxes, there)
    for row, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(there), dtype=bool)
        for place, values in enumerate(share):
            free = np.where(taken, -1.0, values)
            best = len(free) - 1 - int(np.argmax(free[::-1]))  # of equal ones the last, as in COCO's evaluation
            if free[best] >= min(threshold, 1.0 - 1e-10):
                taken[best] = hit[row, place] = True
    return hit
