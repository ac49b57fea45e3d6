"""A volume or picture of any size through a model of one size: overlapping windows, averaged; numpy alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from neurokit.errors import InputError


def slide(
    run: Callable[[np.ndarray], np.ndarray], array: np.ndarray, window: tuple[int, ...], overlap: float = 0.5
) -> np.ndarray:
    """Returns scores at every place: the mean of what all windows that hold it give.

    Windows lie as MONAI's `sliding_window_inference` lays them: from the start in whole steps, the last ones moved
    back inside; an array smaller than a window has zeros around it.

    Args:
        run: Takes `[1, C, *window]`, returns `[1, K, *window]`.
        array: `[C, *sides]`.
        window: Sizes of a window.
        overlap: Share of a window that its neighbour covers too.

    Returns:
        `[K, *sides]`.

    Raises:
        InputError: If the overlap is no share, or the array has another number of axes.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is {overlap}", expected="a share from 0, below 1")
    sides = array.shape[1:]
    if len(sides) != len(window):
        raise InputError(f"the array is {list(array.shape)}", expected=f"channels and {len(window)} axes")
    short = [max(size - side, 0) for size, side in zip(window, sides, strict=True)]
    padded = np.pad(array, [(0, 0), *((lack // 2, lack - lack // 2) for lack in short)])
    starts = [_starts(side, size, overlap) for side, size in zip(padded.shape[1:], window, strict=True)]
    total: np.ndarray | None = None
    count = np.zeros(padded.shape[1:])
    for start in itertools.product(*starts):
        place = tuple(slice(at, at + size) for at, size in zip(start, window, strict=True))
        scores = np.asarray(run(np.ascontiguousarray(padded[(slice(None), *place)][None])))[0]
        if total is None:
            total = np.zeros((len(scores), *count.shape))
        total[(slice(None), *place)] += scores
        count[place] += 1
    assert total is not None
    inside = tuple(slice(lack // 2, lack // 2 + side) for lack, side in zip(short, sides, strict=True))
    return np.asarray((total / count)[(slice(None), *inside)])


def _starts(side: int, size: int, overlap: float) -> list[int]:
    step = size if size == side else max(int(size * (1 - overlap)), 1)
    count = math.ceil(max(side - size, 0) / step) + 1
    return [min(number * step, side - size) for number in range(count)]
