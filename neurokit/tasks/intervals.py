"""Intervals of measured shares; no heavy library, so that pages can use it."""

from __future__ import annotations

import math

from neurokit.quantity import Quantity

_NORMAL = 1.96  # 97.5 % quantile of the standard normal distribution


def wilson(correct: int, total: int, data: str) -> Quantity:
    """Returns a share of right answers with its 95 % score interval (Wilson, J. Am. Stat. Assoc. 22:209, 1927)."""
    share, spread = correct / total, _NORMAL**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = _NORMAL / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    low, high = min(middle - half, share), max(middle + half, share)
    return Quantity(share, max(low, 0.0), min(high, 1.0), "", "measured", f"{correct} of {total} of {data}")
