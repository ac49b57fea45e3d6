"""Weights on dyadic grids: integers of a few bits times a power of two for each output channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurokit.exact.dyadic import ANY, top_exponent

# A bias may be this many bits finer than the weights it is added to.
BIAS_BITS = 8


@dataclass(frozen=True)
class Quantised:
    """One linear map on its grid.

    Attributes:
        integers: Weights as whole numbers, int8, `[C_out, ...]`.
        exponent: Exponent of every output channel's weights, int32.
        bias: Bias as whole numbers, int64.
        bias_exponent: Exponent of every channel's bias, int32.
    """

    integers: Tensor
    exponent: Tensor
    bias: Tensor
    bias_exponent: Tensor

    @property
    def weight(self) -> Tensor:
        """The weights as float32 numbers."""
        return (self.integers.double() * _scale(self.exponent, self.integers.dim())).float()

    @property
    def real_bias(self) -> Tensor:
        """The bias as float32 numbers."""
        return (self.bias.double() * torch.exp2(self.bias_exponent.double())).float()


def levels(bits: int) -> int:
    """Returns the largest whole number of a symmetric grid of `bits` bits."""
    return 2 ** (bits - 1) - 1


def choose_exponents(weight: Tensor, bits: int, floor: float) -> Tensor:
    """Returns each output channel's exponent: of the two that nearly fill the grid, the one with the smaller error.

    Args:
        weight: `[C_out, ...]`.
        bits: Bits of a weight.
        floor: Exponent that must not be passed downwards.
    """
    flat = weight.double().reshape(len(weight), -1)
    top = top_exponent(flat.abs().amax(1), levels(bits)).clamp(min=max(floor, -60.0), max=60.0)
    tight = (top - 1).clamp_min(floor)
    error = [(flat - _nearest(flat, e, bits)).square().sum(1) for e in (top, tight)]
    return torch.where(error[1] < error[0], tight, top).to(torch.int32)


def on_grid(weight: Tensor, bias: Tensor, bits: int, floor: float, operand_grid: float) -> Quantised:
    """Rounds weights and bias to the nearest numbers of their grids.

    Args:
        weight: `[C_out, ...]`.
        bias: `[C_out]`.
        bits: Bits of a weight, 2 to 8.
        floor: Exponent of the finest grid that the result may have.
        operand_grid: Exponent of the operand's grid; 0 for spikes.
    """
    exponent = choose_exponents(weight, bits, floor - operand_grid)
    integers = torch.round(weight.double() / _scale(exponent, weight.dim())).clamp(-levels(bits), levels(bits))
    return with_bias(integers.to(torch.int8), exponent, bias, floor, operand_grid)


def with_bias(integers: Tensor, exponent: Tensor, bias: Tensor, floor: float, operand_grid: float) -> Quantised:
    """Adds a bias, on a grid at most `BIAS_BITS` finer than the products' and never below `floor`."""
    finest = (exponent.double() + operand_grid - BIAS_BITS).clamp_min(max(floor, -ANY))
    # No more than 20 bits for a bias, where weights are tiny.
    finest = torch.maximum(finest, top_exponent(bias.abs(), 2.0**20)).ceil()
    units = torch.round(bias.double() / torch.exp2(finest)).to(torch.int64)
    return Quantised(integers, exponent, units, finest.to(torch.int32))


def _scale(exponent: Tensor, dims: int) -> Tensor:
    return torch.exp2(exponent.double()).reshape([-1] + [1] * (dims - 1))


def _nearest(flat: Tensor, exponent: Tensor, bits: int) -> Tensor:
    scale = torch.exp2(exponent.double())[:, None]
    return torch.round(flat / scale).clamp(-levels(bits), levels(bits)) * scale
