"""Sliding windows along one axis: which inputs each output position reads, with borders, as exact integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """A window that slides along one axis: output `o`, tap `k` reads input `o * stride - padding + k * dilation`.

    What lies outside the axis is a border and is no connection. The number of outputs is given, so padding after
    the end (also that of `ceil_mode`) needs no number of its own.
    """

    size_in: int
    size_out: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    def taps(self) -> Iterator[tuple[slice, slice]]:
        """Yields for each tap the input slice and the output slice that it joins, borders clipped."""
        for tap in range(self.kernel):
            offset = tap * self.dilation - self.padding
            first = max(0, -(offset // self.stride))  # ceil(-offset / stride): the first output inside
            last = min(self.size_out - 1, (self.size_in - 1 - offset) // self.stride)
            if first <= last:
                start = first * self.stride + offset
                stop = last * self.stride + offset + 1
                yield slice(start, stop, self.stride), slice(first, last + 1)

    def gather(self, values: NDArray[Any], axis: int) -> NDArray[Any]:
        """Returns the sum over the window at each output, along `axis`; of bools, whether any is set."""
        moved = np.moveaxis(values, axis, -1)
        out = np.zeros((*moved.shape[:-1], self.size_out), values.dtype)
        for inputs, outputs in self.taps():
            out[..., outputs] += moved[..., inputs]
        return np.moveaxis(out, -1, axis)

    def scatter(self, values: NDArray[Any], axis: int) -> NDArray[Any]:
        """Returns the sum over the outputs that read each input, along `axis`; of bools, whether any is set."""
        moved = np.moveaxis(values, axis, -1)
        out = np.zeros((*moved.shape[:-1], self.size_in), values.dtype)
        for inputs, outputs in self.taps():
            out[..., inputs] += moved[..., outputs]
        return np.moveaxis(out, -1, axis)
