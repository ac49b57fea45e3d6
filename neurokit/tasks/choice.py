"""What scores say: the class that they choose, and probabilities of all."""

from __future__ import annotations

import numpy as np


def best_class(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Returns the number of the largest score along an axis; of equal ones the lowest number."""
    return np.asarray(np.argmax(scores, axis=axis))


def top1_agreement(scores: np.ndarray, reference: np.ndarray) -> float:
    """Returns the share of samples of which two sets of scores `[..., classes]` choose the same class, 0 to 1."""
    return float((best_class(scores) == best_class(reference)).mean())


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns the softmax over the last axis, in float64, without overflow."""
    raised = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))
