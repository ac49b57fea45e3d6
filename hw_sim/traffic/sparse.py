"""Sums along the last axis by a fixed sparse pattern: the same additions for every workload of a mapping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class SparseSum:
    """Adds inputs up in outputs, `out[:, outputs[k]] += weights[k] * values[:, inputs[k]]`.

    Args:
        inputs: Number of the input of each term, `[n]`.
        outputs: Number of the output of each term, `[n]`.
        size: Number of outputs.
        weights: Factor of each term, `[n]`; None for ones.
    """

    def __init__(self, inputs: Ints, outputs: Ints, size: int, weights: Ints | None = None) -> None:
        order = np.argsort(outputs, kind="stable")
        ordered = outputs[order]
        first = np.flatnonzero(np.diff(ordered, prepend=-1))
        self._inputs, self._first, self._outputs, self._size = inputs[order], first, ordered[first], size
        self._weights = None if weights is None else weights[order]

    def of(self, values: Ints) -> Ints:
        """Returns the sums of `values` `[T, inputs]`, `[T, size]`."""
        out = np.zeros((len(values), self._size), np.int64)
        if len(self._inputs):
            terms = values[:, self._inputs]
            if self._weights is not None:
                terms *= self._weights
            out[:, self._outputs] = np.add.reduceat(terms, self._first, axis=1)
        return out
