"""Sums that several programs share: each adds a part of every lattice's taps, and the last one to end adds the parts.

Whole numbers have one sum in every order. In float16 the parts, float32, are added in their own order, whichever
program ends last, so that a call gives the same bits every time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# One a tile. Of one size, so that a compiled network fills one tensor for all of its layers.
COUNTERS = 1024


def rounds(kernel: int, columns: int, stride: int, padding: int, paired: bool, blocks: int) -> list[int]:
    """Returns the rounds of the sum over each lattice of pixels, as `triton_sums.convolve` goes through them.

    Args:
        kernel: Rows of taps.
        columns: Taps of a row.
        stride: Of the convolution.
        padding: Zeros around the input.
        paired: Whether two neighbours in a row are one pixel.
        blocks: Rounds of a tap.
    """
    met = [-(-(kernel - (p + padding) % stride) // stride) for p in range(stride)]
    across = [-(-(columns - (p + padding) % stride) // stride) for p in range(stride)]
    return [m * columns * blocks for m in met] if paired else [m * a * blocks for m in met for a in across]


def parts(wanted: int, tiles: Any, rounds: list[int]) -> int:
    """Returns into how many parts a sum is split: as many as wanted, or 1 where they would not be equal.

    Args:
        wanted: Of the launch parameters.
        tiles: Of the output; of a traced size nobody knows whether there are counters enough.
        rounds: Of the sum over each lattice.
    """
    possible = isinstance(tiles, int) and tiles <= COUNTERS and not any(count % wanted for count in rounds)
    return wanted if possible else 1


def scratch(out: Tensor, number: int, sums: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns where parts are kept and how many of a tile have ended; both are the output, unread, without a split.

    Args:
        out: The call's output.
        number: Parts of a sum.
        sums: Numbers of a part, of all tiles.
        dtype: Of a sum.
    """
    if number == 1:
        return out, out
    kept = torch.empty(number * sums, dtype=dtype, device=out.device)
    return kept, torch.zeros(COUNTERS, dtype=torch.int32, device=out.device)
