"""The class that scores choose: the one place where the largest score becomes an answer."""

from __future__ import annotations

import numpy as np


def best_class(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Returns the number of the largest score along an axis; of equal ones the lowest number."""
    return np.asarray(np.argmax(scores, axis=axis))


def top1_agreement(scores: np.ndarray, reference: np.ndarray) -> float:
    """Returns the share of samples of which two sets of scores `[..., classes]` choose the same class, 0 to 1."""
    return float((best_class(scores) == best_class(reference)).mean())
