"""Values of a population as a rule sees them, and back: index maps, and sums over the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mix(view: NDArray[Any], inputs: int, outputs: int) -> NDArray[Any]:
    """Returns the sum over the last axis (of size `inputs`), given to each of `outputs` features."""
    total = view.reshape(len(view), -1, inputs).sum(axis=2, dtype=view.dtype)
    return np.repeat(total, outputs, axis=1)


def gather(values: NDArray[Any], index: NDArray[np.int64] | None) -> NDArray[Any]:
    """Returns `values` at the positions of a view; 0 where the index is -1."""
    if index is None:
        return values
    return np.where(index >= 0, values[:, index], values.dtype.type(0))


def scatter(view: NDArray[Any], index: NDArray[np.int64] | None, size: int) -> NDArray[Any]:
    """Returns the sum (of bools: any) of a view at the neurons it stands for, `[T, size]`; -1 is dropped."""
    if index is None:
        return view
    out = np.zeros((len(view), size), view.dtype)
    kept = index >= 0
    for row, part in zip(out, view, strict=True):
        np.add.at(row, index[kept], part[kept])
    return out
