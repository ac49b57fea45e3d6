"""A spiking network in integers: what the event engine runs, and what a dyadic ("exact") model is written as.

Real values are integers times a power of two that may differ from channel to channel (the *grid*). An int8 weight of
output channel c stands for `weight * 2**grid[c]`; spikes are 0 or 1; everything that meets in one sum is brought to
the target's grid by a left shift. So every number here is exact, in any order of summation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.graph.network import Network


@dataclass(frozen=True)
class Rescale:
    """Brings integers to a coarser grid: divides by `2**shift`, rounds half to even, clips.

    Attributes:
        shift: Bits that are dropped.
        low: Smallest result.
        high: Largest result.
    """

    shift: int
    low: int = -(2**31) + 1
    high: int = 2**31 - 1

    def __call__(self, values: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
        """Returns the rescaled values, of the same type."""
        if self.shift == 0:
            return np.clip(values, self.low, self.high)
        kept = values >> self.shift
        rest = values - (kept << self.shift)
        half = 1 << (self.shift - 1)
        return np.clip(kept + ((rest > half) | ((rest == half) & ((kept & 1) == 1))), self.low, self.high)


@dataclass(frozen=True)
class IntegerPopulation:
    """The numbers of one population, each broadcastable to its shape (for example `[C, 1, 1]`).

    With u the membrane, r the reset value, x the current, 1/tau = numerator / 2**shift, and `>>` rounding down:
    "if": u += x; "lif" without decay_input: u += x - (numerator * (u - r) >> shift); with decay_input:
    u += numerator * (x - (u - r)) >> shift. A neuron spikes where u >= threshold. Membranes carry `fraction_bits`
    more bits than the current; with at least shift x time steps of them nothing is ever rounded.

    Attributes:
        bias: Added to the current in each step, on the current's grid.
        threshold: On the current's grid; used by neurons only.
        reset: Value after a hard reset, and at the start where `start` says nothing else, on the current's grid.
        leak_numerator: Numerator of 1/tau.
        leak_shift: Binary logarithm of the denominator of 1/tau.
        fraction_bits: Bits of the membrane below the current's grid.
        grid: Real value of one unit, as a power of two; only for reading results.
        rescale: Applied to the sum of a "current" population, or None.
        start: Membrane before the first step, on the current's grid; None for `reset`.
    """

    bias: ArrayLike = 0
    threshold: ArrayLike = 1
    reset: ArrayLike = 0
    leak_numerator: int = 1
    leak_shift: int = 0
    fraction_bits: int = 0
    grid: ArrayLike = 0
    rescale: Rescale | None = None
    start: ArrayLike | None = None


@dataclass(frozen=True)
class IntegerProjection:
    """The numbers of one projection.

    Attributes:
        weight: int8 (or int16), `[C_out, C_in / groups, *kernel]` or `[out, in]`; None for kinds without weights.
        shift: Left shift from this projection's grid to the target's, for each output channel (conv, pool: first
            axis of the target view; linear, identity: last axis), or one number.
    """

    weight: NDArray[np.signedinteger] | None = None
    shift: ArrayLike = 0


@dataclass(frozen=True)
class IntegerNetwork:
    """A network and all its integers.

    Attributes:
        network: The layer graph.
        populations: Numbers by population name; a name that is missing has the defaults.
        projections: Numbers by projection name; a name that is missing has no weight and no shift.
        input_bound: Largest absolute value of each integer input that is not binary, by population name.

    Raises:
        InputError: If a weight is missing, has the wrong shape or type, or a name is unknown.
    """

    network: Network
    populations: Mapping[str, IntegerPopulation] = field(default_factory=dict)
    projections: Mapping[str, IntegerProjection] = field(default_factory=dict)
    input_bound: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {p.name for p in self.network.populations}, {p.name for p in self.network.projections}
        for given, names in ((self.populations, known[0]), (self.projections, known[1]), (self.input_bound, known[0])):
            for name in given:
                if name not in names:
                    raise InputError(f"{name!r} is not in the network {self.network.name!r}")
        for p in self.network.projections:
            weight = self.projection(p.name).weight
            if (weight is not None) != (p.kind in ("conv", "linear")):
                raise InputError(f"projection {p.name!r} ({p.kind}) has {'no' if weight is None else 'a'} weight")
            if weight is None:
                continue
            channels = (p.target_shape[0], p.source_shape[0] // p.groups)
            shape = (*channels, *p.kernel) if p.kind == "conv" else (p.target_shape[-1], p.source_shape[-1])
            if weight.shape != shape or weight.dtype not in (np.int8, np.int16):
                raise InputError(
                    f"the weight of {p.name!r} is {weight.dtype} {weight.shape}", expected=f"int8 or int16 {shape}"
                )
        for p in self.network.inputs:
            if not p.binary and p.name not in self.input_bound:
                raise InputError(f"input {p.name!r} is not binary and has no bound", fix="give it in input_bound")

    def population(self, name: str) -> IntegerPopulation:
        """Returns the numbers of a population."""
        return self.populations.get(name, IntegerPopulation())

    def projection(self, name: str) -> IntegerProjection:
        """Returns the numbers of a projection."""
        return self.projections.get(name, IntegerProjection())
