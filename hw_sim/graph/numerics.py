"""The width of a network's weights: what the numbers themselves say, or what somebody will quantise them to."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.graph.network import Network
from neurokit.hw_sim.graph.projection import Projection

# Names of the widths that are no number of bits in the literature; ternary weights take two bits in every memory.
NAMED_WIDTHS = {"binary": 1, "ternary": 2}
_WIDEST = 16  # beyond this a grid is no quantisation but the resolution of the floats themselves
_SAMPLED = 4096  # floats are told from a grid by so many weights; a grid is then checked on all
_ROW = 9  # rows shorter than this say nothing of a scale of their own


def parse_width(text: str | int) -> int:
    """Returns a width in bits from a number or a name ("binary", "ternary").

    Raises:
        InputError: If it is neither.
    """
    if text in NAMED_WIDTHS:
        return NAMED_WIDTHS[str(text)]
    try:
        bits = int(text)
    except ValueError:
        bits = 0
    if not 1 <= bits <= 32:
        raise InputError(f"weight bits are {text!r}", expected="1 to 32, binary or ternary", fix="--weight-bits 8")
    return bits


def grid_width(weight: NDArray[Any]) -> int | None:
    """Returns the bits of the narrowest signed integers that hold weights up to one scale (or one a channel).

    Returns:
        None where the weights lie on no grid: they are floats.
    """
    rows = weight.reshape(len(weight), -1) if weight.ndim > 1 else weight.reshape(1, -1)
    whole = _width_of(rows.reshape(-1)[:_SAMPLED])
    if whole is not None and (rows.size <= _SAMPLED or (whole := _width_of(rows.reshape(-1))) is not None):
        return whole
    if rows.shape[1] < _ROW:
        return None
    widths = []
    for row in rows:
        width = _width_of(row[:_SAMPLED])
        if width is None:
            return None
        widths.append(width)
    return max(widths)


def _width_of(values: NDArray[Any]) -> int | None:
    levels = np.unique(values.astype(np.float64))
    nonzero = np.unique(np.abs(levels[levels != 0]))
    if len(nonzero) < 2:  # 0 and 1, or -1 and +1: one bit; all three: two
        return 2 if len(levels) == 3 else 1
    step = min(float(np.diff(levels).min()), float(nonzero[0]))
    step = float(nonzero[-1]) / max(1, round(float(nonzero[-1]) / step))  # a difference of two floats is a rough step
    whole = levels / step
    if np.abs(whole).max() >= 1 << _WIDEST or np.abs(whole - np.round(whole)).max() > 1e-3:
        return None
    low, high = int(np.round(whole.min())), int(np.round(whole.max()))
    return max(math.ceil(math.log2(high + 1)), math.ceil(math.log2(-low)) if low < 0 else 0) + (low < 0)


def with_weight_bits(network: Network, bits: int | None = None) -> Network:
    """Returns a network whose projections say how wide their weights are.

    Args:
        network: The layer graph; weights that are known tell their own width.
        bits: Width that all weights are taken in, whatever they are now.
    """
    projections = tuple(_described(projection, bits) for projection in network.projections)
    return network if projections == network.projections else replace(network, projections=projections)


def _described(projection: Projection, bits: int | None) -> Projection:
    if projection.kind not in ("conv", "linear"):
        return projection
    if bits is not None:
        return replace(projection, weight_bits=bits, weights_are_floats=False)
    if projection.weight is None or not projection.weight.size:
        # A scale that hides the weights (a batch normalisation that was not folded) leaves floats behind it.
        hidden = projection.weight is None and projection.gain is None
        return replace(projection, weights_are_floats=True) if hidden else projection
    found = grid_width(projection.weight)
    if found is None:
        return replace(projection, weights_are_floats=True)
    return replace(projection, weight_bits=found, weights_are_floats=False)
