"""Other numbers in the place of a tensor's, drawn."""

from __future__ import annotations

import random

import numpy as np

from tests.mutation.graph import need


def numbers(value: np.ndarray, r: random.Random) -> np.ndarray:
    """Returns numbers of which one, or all, are others."""
    made, at = value.copy(), r.randrange(value.size)
    flat = made.reshape(-1)
    if value.dtype.kind == "b":
        flat[at] = not flat[at]
    elif value.dtype.kind in "iu":
        flat[at] += r.choice((-1, 1))
    else:
        how = r.choice(("one", "one", "all", "lost", "sign", "rows", "backwards", "half"))
        if how == "one":
            flat[at] *= 1 + r.choice((0.3, -0.3, 0.03, 0.01))
        elif how == "all":
            flat *= 1 + r.choice((0.01, -0.01, 0.001))
        elif how in ("lost", "sign"):
            flat[at] *= 0 if how == "lost" else -1
        elif how == "half":
            made = value.astype(np.float16).astype(value.dtype)
        else:
            need(value.ndim and len(value) > 1)
            rows = [*range(len(value))]
            i, j = r.sample(rows, 2)
            rows[i], rows[j] = (j, i) if how == "rows" else (rows[i], rows[j])
            made = value[rows if how == "rows" else rows[::-1]]
    return made
