"""The exact network as integers, layer by layer: what an event simulator or a chip takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurokit.exact import Exact


@dataclass(frozen=True)
class IntegerLayer:
    """One convolution or linear map as integers.

    A current of channel c is `(sum(weight * operand) * 2**exponent[c] * 2**operand_exponent) + bias[c] *
    2**bias_exponent[c]`, with operands as integers (0 or 1 for spikes).

    Attributes:
        name: Module path.
        weight: int8, `[C_out, ...]`.
        exponent: Power of two of each output channel's weights.
        bias: int64, `[C_out]`.
        bias_exponent: Power of two of each output channel's bias.
        operand: (exponent, low, high) of a rounding of the operand, or None.
        result: (exponent, low, high) of a rounding of the result, or None.
    """

    name: str
    weight: np.ndarray
    exponent: np.ndarray
    bias: np.ndarray
    bias_exponent: np.ndarray
    operand: tuple[int, float | None, float | None] | None
    result: tuple[int, float | None, float | None] | None


def integer_layers(made: Exact) -> list[IntegerLayer]:
    """Returns every convolution and linear map of an exact network as integers, in order of execution."""
    names = [layer.name for layer in made.proof.layers if layer.kind == "sum"]
    layers = []
    for index, numbers in made.plan.linears.items():
        layers.append(
            IntegerLayer(
                names[index] if index < len(names) else str(index),
                numbers.integers.numpy(),
                numbers.exponent.numpy(),
                numbers.bias.numpy(),
                numbers.bias_exponent.numpy(),
                _triple(made.plan.operands.get(index)),
                _triple(made.plan.results.get(index)),
            )
        )
    return layers


def _triple(rounding: Any) -> tuple[int, float | None, float | None] | None:
    return None if rounding is None else (rounding.exponent, rounding.low, rounding.high)
