"""Spikes of one population over time, kept as packed bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError


@dataclass(frozen=True)
class SpikeRaster:
    """Which neurons spiked in which time step: one bit each.

    For a population that is not binary a set bit means a value other than zero.

    Attributes:
        time_steps: T.
        neurons: N.
        bits: Packed along the neurons, big-endian as numpy packs, `[T, ceil(N / 8)]`.
    """

    time_steps: int
    neurons: int
    bits: NDArray[np.uint8] = field(repr=False)

    @classmethod
    def pack(cls, spikes: NDArray[np.generic]) -> SpikeRaster:
        """Returns the raster of `spikes`, `[T, N]` or `[T, *shape]`, where anything but zero is a spike.

        Raises:
            InputError: If there is no time axis and neuron axis, or a value is NaN.
        """
        array = np.asarray(spikes)
        if array.ndim < 2:
            raise InputError(f"a spike raster cannot be made from shape {array.shape}", expected="[T, N]")
        if array.dtype.kind == "f" and bool(np.isnan(array).any()):
            raise InputError("a spike raster cannot hold NaN", expected="spikes of 0 or 1")
        flat = array.reshape(len(array), -1)
        return cls(len(flat), flat.shape[1], np.packbits(flat if flat.dtype == np.bool_ else flat != 0, axis=1))

    @classmethod
    def empty(cls, time_steps: int, neurons: int) -> SpikeRaster:
        """Returns a raster without any spike."""
        return cls(time_steps, neurons, np.zeros((time_steps, (neurons + 7) // 8), np.uint8))

    def unpack(self) -> NDArray[np.uint8]:
        """Returns 0 or 1, `[T, N]`."""
        return np.unpackbits(self.bits, axis=1, count=self.neurons)

    def steps(self) -> Iterator[NDArray[np.int64]]:
        """Yields for each time step the numbers of the neurons that spiked, ascending."""
        for row in self.bits:
            yield np.flatnonzero(np.unpackbits(row, count=self.neurons))

    def per_step(self) -> NDArray[np.int64]:
        """Returns the number of spikes in each time step, `[T]`."""
        return np.bitwise_count(self.bits).sum(axis=1, dtype=np.int64)

    def per_neuron(self) -> NDArray[np.int64]:
        """Returns the number of spikes of each neuron over all time steps, `[N]`."""
        total = np.zeros(self.neurons, np.int64)
        for row in self.bits:
            total += np.unpackbits(row, count=self.neurons)
        return total

    @property
    def count(self) -> int:
        """The number of spikes."""
        return int(np.bitwise_count(self.bits).sum(dtype=np.int64))

    @property
    def rate(self) -> float:
        """Spikes for each neuron and time step, 0 to 1."""
        return self.count / (self.time_steps * self.neurons)
