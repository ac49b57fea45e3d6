"""Dyadic numbers: integers times powers of two, and how floating-point tensors are placed on such grids."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

# Grid of a zero: it lies on every grid. Far above any exponent that float32 has.
ANY = 1000.0
# Significant bits of thresholds, reset values and other constants that are only compared or added.
CONSTANT_BITS = 12


def lowest_bit(values: Tensor) -> Tensor:
    """Returns the exponent of the lowest set bit of every number, `ANY` for zeros: x is an integer times 2**that."""
    mantissa, exponent = torch.frexp(values.detach().double())
    digits = (mantissa.abs() * 2.0**53).to(torch.int64)
    low = torch.frexp((digits & -digits).double())[1] - 1
    grid = (exponent - 53 + low).double()
    return torch.where(digits == 0, torch.full_like(grid, ANY), grid)


def lowest_bit_of(number: float) -> float:
    """Returns `lowest_bit` of one number."""
    return float(lowest_bit(torch.tensor([number], dtype=torch.float64))[0])


def is_power_of_two(number: float) -> bool:
    """Returns whether a number is 2**k for a whole k of either sign."""
    return number > 0 and math.isfinite(number) and math.frexp(number)[0] == 0.5


def snap(number: float | Fraction, bits: int = CONSTANT_BITS) -> float:
    """Rounds a number to `bits` significant bits."""
    value = float(number)
    if value == 0.0:
        return 0.0
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**bits), exponent - bits)


def dyadic_decay(decay: float, tolerance: float = 0.02) -> float:
    """Returns the decay m / 2**s with the fewest bits s that is within `tolerance` (relative) of `decay`.

    Each bit costs one bit of membrane a time step, so few are better than near.
    """
    for shift in range(9):
        m = max(1, round(decay * 2**shift))
        if abs(m / 2**shift - decay) <= tolerance * decay:
            return m / 2**shift
    return max(1, round(decay * 2**8)) / 2**8


def top_exponent(size: Tensor, levels: float) -> Tensor:
    """Returns the smallest whole e with `size <= levels * 2**e`, -ANY where size is zero."""
    size = size.double()
    exponent = torch.ceil(torch.log2(size.clamp_min(1e-300) / levels))
    # log2 may round across a whole number.
    exponent = torch.where(size > levels * torch.exp2(exponent), exponent + 1, exponent)
    return torch.where(size <= 0, torch.full_like(exponent, -ANY), exponent)


def log2(value: float) -> float:
    """Returns log2, and -ANY for zero."""
    return math.log2(value) if value > 0 else -ANY
