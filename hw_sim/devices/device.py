"""A measured edge device: joules of one inference over the size of the network, as data with its source."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from neurokit.quantity import Kind, Quantity

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config={"extra": "forbid"})
class Point:
    """One network that was measured.

    Attributes:
        network: What ran.
        macs: Multiply-accumulates of one inference.
        joules: Energy of one inference: the median of the runs.
        low: Smallest of the runs; of a vendor's figures the least that they allow.
        high: Largest of the runs, or the most that they allow.
    """

    network: str
    macs: _Positive
    joules: _Positive
    low: _Positive
    high: _Positive

    def __post_init__(self) -> None:
        if not self.low <= self.joules <= self.high:
            raise ValueError(f"{self.network}: joules {self.joules} lie outside [{self.low}, {self.high}]")


@dataclass(frozen=True, config={"extra": "forbid"})
class Device:
    """What a device takes for one inference of a network without spikes.

    Attributes:
        name: Name on the command line.
        title: Name in tables.
        maker: Who makes it.
        core: What computes.
        precision: Numbers that it was measured with ("int8").
        source: Where the figures are from, so that they can be found again.
        scope: What the joules hold: "board", "chip", "dynamic".
        points: Networks measured; none where no figure could be read, and then nothing is compared with it.
        note: What a reader must know.
        basis: "silicon" (somebody measured joules) or "vendor" (bounds from a vendor's figures).
        searched: Where a figure was looked for, of a device without points.
    """

    name: Annotated[str, Field(min_length=1)]
    title: str
    maker: str
    core: str
    precision: str
    source: Annotated[str, Field(min_length=1)]
    scope: str
    points: tuple[Point, ...] = ()
    note: str = ""
    basis: Literal["silicon", "vendor"] = "silicon"
    searched: str = ""

    def __post_init__(self) -> None:
        if not self.points and not self.searched.strip():
            raise ValueError(f"{self.name}: neither points nor, in `searched`, where they were looked for")

    def joules_per_mac(self) -> tuple[float, float]:
        """Returns the smallest and the largest energy for each multiply-accumulate of the networks measured."""
        return min(p.low / p.macs for p in self.points), max(p.high / p.macs for p in self.points)

    def measured(self, macs: float) -> bool:
        """Returns whether networks of this size lie between those that were measured."""
        return min(p.macs for p in self.points) <= macs <= max(p.macs for p in self.points)

    def energy(self, macs: float) -> Quantity:
        """Returns the energy of one inference of a network of this many multiply-accumulates, in joules.

        The best estimate is the line between the two networks measured that are nearest in size (both axes
        logarithmic), outside of them the nearest one's energy for each multiply-accumulate. The interval holds that of
        all networks measured: layers of another shape cost as much as they differ.
        """
        low, high = self.joules_per_mac()
        value = min(max(self._line(macs), low * macs), high * macs)
        known = self.measured(macs) and self.basis == "silicon"
        kind: Kind = "analytic" if known else "assumed"  # measured joules, but of other networks
        return Quantity(value, low * macs, high * macs, "J", kind, self.source)

    def _line(self, macs: float) -> float:
        ordered = sorted(self.points, key=lambda point: point.macs)
        if macs <= ordered[0].macs:
            return macs * ordered[0].joules / ordered[0].macs
        for a, b in itertools.pairwise(ordered):
            if a.macs < macs <= b.macs:
                share = math.log(macs / a.macs) / math.log(b.macs / a.macs)
                return math.exp(math.log(a.joules) * (1 - share) + math.log(b.joules) * share)
        return macs * ordered[-1].joules / ordered[-1].macs
