"""Brightness as the element type of an input."""

from __future__ import annotations

import numpy as np


def in_type(pixels: np.ndarray, dtype: str) -> np.ndarray:
    """Returns brightness as a port takes it: for whole numbers rounded, as 89.99999 is a 90, else as it is."""
    whole = "int" in dtype
    return np.ascontiguousarray(np.rint(pixels).astype(dtype) if whole else pixels)
