"""What scores say: the class that they choose, and probabilities of all."""

from __future__ import annotations

import numpy as np


def best_class(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Returns the number of the largest score along an axis; of equal ones the lowest number."""
    return np.asarray(np.argmax(scores, axis=axis))


def top1_agreement(scores: np.ndarray, reference: np.ndarray) -> float:
    """Returns the share of samples of which two sets of scores `[..., classes]` choose the same class, 0 to 1."""
    return float((best_class(scores) == best_class(reference)).mean())


def agreement_of(scores: np.ndarray, reference: np.ndarray) -> float | None:
    """Returns the top-1 agreement of an output, 0 to 1, or None where it does not choose among classes.

    Args:
        scores: `[B, classes]` or `[T, B, classes]`, or maps `[B, classes, H, W]`, which are compared place by place.
            Of more axes it is not known which one the classes are on.
        reference: The same.
    """
    if scores.ndim == 4:
        scores, reference = np.moveaxis(scores, 1, -1), np.moveaxis(reference, 1, -1)
    if not 2 <= scores.ndim <= 4 or scores.shape[-1] < 2 or scores.shape != reference.shape:
        return None
    return top1_agreement(scores, reference)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns the softmax over the last axis, in float64, without overflow."""
    raised = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))
