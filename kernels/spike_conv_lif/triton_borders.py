"""Triton function for the sums of numbers that are held less 128: what the taps inside the image add to them."""

import triton
import triton.language as tl


@triton.jit
def of_numbers(
    acc,
    corrections,
    edges,
    y,
    x,
    col,
    height,
    width,
    cols,
    STEPS: tl.constexpr,
    IMAGES: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
):
    """Adds, at each pixel of a tile `[COLS, STEPS * pixels]`, what its class of pixels has (`borders.corrections`).

    (y, x) is the tile's first pixel of an output of `height` x `width`; `edges` are (top, last row, left, last column).
    """
    top, last_row, left, last_column = edges
    c = col + tl.arange(0, COLS)
    if (y >= top) & (y + TALL - 1 <= last_row) & (x >= left) & (x + WIDE - 1 <= last_column):
        # Of all taps: one number a channel.
        acc += tl.load(corrections + c, mask=c < cols, other=0)[:, None]
    else:
        p = tl.arange(0, STEPS * IMAGES * TALL * WIDE) % (TALL * WIDE)
        row = tl.minimum(y + p // WIDE, height - 1)
        column = tl.minimum(x + p % WIDE, width - 1)
        row = tl.minimum(row, top) + tl.maximum(row - last_row, 0)
        column = tl.minimum(column, left) + tl.maximum(column - last_column, 0)
        place = 1 + row * (left + width - last_column) + column
        acc += tl.load(corrections + place[None, :] * cols + c[:, None], mask=(c < cols)[:, None], other=0)
    return acc
