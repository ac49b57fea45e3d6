"""Bounds of a tensor that hold in any order of summation, and what is found with them.

A tensor's `Range` holds, element by element, the largest positive and the largest negative sum that any subset of the
terms that were added since the last threshold can give, and the exponent of the finest grid that they lie on. If both
are below 2**24 units of that grid, every partial sum, in any order and with any fusion, is a float32 number, so that
nothing is ever rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from neurokit.exact.dyadic import ANY, lowest_bit
from neurokit.exact.membranes import Membrane

LIMIT = 24  # bits of a float32's significand
CONSTANT = -(2**31)  # the source of a tensor of constants


@dataclass(frozen=True)
class Range:
    """Bounds of one tensor.

    Attributes:
        pos: Largest sum of positive terms, >= 0.
        neg: Largest sum of the magnitudes of negative terms, >= 0.
        grid: Exponent of the grid.
        sources: Numbers of the linear maps whose grids can still change this one (-1: the first input, -2: the second,
            and so on; CONSTANT).
        gain: Exponent by which this grid is finer (negative) than that of its sources.
    """

    pos: Tensor
    neg: Tensor
    grid: Tensor
    sources: frozenset[int] = frozenset()
    gain: float = 0.0

    def bits(self) -> float:
        """Returns log2 of the largest sum in units of the grid."""
        size = torch.maximum(self.pos, self.neg).double()
        units = torch.where(size > 0, torch.log2(size.clamp_min(1e-300)) - self.grid, torch.full_like(size, -ANY))
        return float(units.max()) if units.numel() else -ANY

    def largest(self) -> float:
        """Returns the largest magnitude."""
        return max(float(self.pos.max()), float(self.neg.max())) if self.pos.numel() else 0.0


class Unknown:
    """A tensor that rounding has touched: its grid is not known."""


@dataclass
class Finding:
    """What was found at one node.

    Attributes:
        node: Name of the node.
        index: Number of the linear map or neuron, or None.
        kind: "sum", "neuron", "output" or "inexact".
        bits: log2 of the largest partial sum in units of its grid.
        membrane: Bounds of the neuron.
        why: For "inexact": the reason.
        sources: As in Range.
        floor: Exponent below which the sources' grids must not go, by the bounds found.
        sum_floor: The same without the membrane's own needs.
        gain: As in Range.
        cap: Exponent above which no neuron's input is rounded for the sake of its membrane.
        size: Largest magnitude of a neuron's input.
        threshold: Of a neuron.
    """

    node: str
    index: int | None
    kind: str
    bits: float
    membrane: Membrane | None = None
    why: str = ""
    sources: frozenset[int] = frozenset()
    floor: float = -ANY
    sum_floor: float = -ANY
    gain: float = 0.0
    cap: float = ANY
    size: float = 0.0
    threshold: float = 0.0


@dataclass
class Nominal:
    """Before weights are on their grids: the grids they will have, and where operands get too wide.

    Attributes:
        levels: Largest weight in units of its grid.
        observed: Largest magnitude seen at the input of each linear map.
        widest: Bits of an operand above which it is quantised first.
        operand_bits: Bits it is quantised to, the sign's among them.
        operands: What was decided: exponent and largest magnitude, by linear map.
        limits: Largest magnitude that a linear map's result is limited to, by number.
        scales: Exponent of the grid that what a constant factor makes is rounded to, by node name.
    """

    levels: int
    observed: dict[int, float]
    widest: int = 10
    operand_bits: int = 8
    operands: dict[int, tuple[int, float]] = field(default_factory=dict)
    limits: dict[int, float] = field(default_factory=dict)
    scales: dict[str, int] = field(default_factory=dict)


def as_range(value: object) -> Range:
    """Returns a constant as a range; a range is returned as it is."""
    if isinstance(value, Range):
        return value
    tensor = torch.as_tensor(value, dtype=torch.float32)
    return Range(tensor.clamp_min(0), (-tensor).clamp_min(0), lowest_bit(tensor))


def as_term(value: Any) -> Range:
    """Returns a term of a sum; a tensor of constants is a source whose grid stays as it is."""
    found = as_range(value)
    return replace(found, sources=frozenset({CONSTANT})) if isinstance(value, torch.Tensor) else found


class Walk(Protocol):
    """What a rule needs of the walk through the program."""

    node: Any

    def note(self, value: Range, kind: str) -> None:
        """Notes the bounds of a sum."""
        ...

    def rounded(self, value: Range) -> Range:
        """Returns a product as the plan will round it."""
        ...
