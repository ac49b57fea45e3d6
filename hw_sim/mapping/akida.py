"""What a layer takes of Akida's nodes: memories as the virtual AKD1000 of akida 2.19.3 reports them."""

from __future__ import annotations

import math

from neurokit.hw_sim.graph.projection import Projection

# Weights lie in words of 50 bytes, for each input channel those of eight filters together. Read off the virtual device
# over 1 to 256 filters: (words, groups of eight filters in so many words), by kernel side and weight bits.
_GROUP, _WORD_BITS = 8, 400
_WORDS: dict[int, dict[int, tuple[int, int, int]]] = {  # unit, numerator, denominator: unit * ceil(groups * n / d)
    1: {1: (1, 1, 24), 2: (1, 1, 24), 4: (2, 1, 24)},
    3: {1: (1, 1, 5), 2: (1, 2, 5), 4: (2, 3, 8)},
    5: {1: (1, 1, 2), 2: (1, 1, 1), 4: (2, 1, 1)},
    7: {1: (1, 1, 1), 2: (2, 1, 1), 4: (2, 8, 3)},
}


def akida_weight_bits(projection: Projection, filters: int, bits: int) -> int:
    """Returns the weight memory of some filters of a convolution, in bits.

    Other kernels than squares of 1, 3, 5 and 7 are taken as the next larger one, other widths likewise.
    """
    side = next((k for k in _WORDS if k >= max(projection.kernel)), 7)
    width = next((b for b in (1, 2, 4) if b >= bits), 4)
    unit, over, under = _WORDS[side][width]
    words = unit * -(-(-(-filters // _GROUP) * over) // under)
    larger = max(1.0, max(projection.kernel) ** 2 / side**2, bits / width)
    return math.ceil(projection.source_shape[0] // projection.groups * words * _WORD_BITS * larger)


def akida_input(projection: Projection, places: int, bits: int) -> tuple[int, int]:
    """Returns (rows of the input without borders, bits of the input with borders) of a block of a convolution."""
    columns = projection.target_shape[-1]
    rows_out = -(-places // columns)
    height = projection.source_shape[1] if len(projection.source_shape) > 2 else 1
    stride = projection.stride[0] if len(projection.stride) > 1 else 1
    border = projection.kernel[0] - 1 if len(projection.kernel) > 1 else 0
    rows = min(height, rows_out * stride)
    held = min(height, rows + (border if rows < height else 0))
    return rows, held * projection.source_shape[-1] * projection.source_shape[0] * bits
