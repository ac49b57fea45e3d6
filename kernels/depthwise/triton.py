"""Triton kernels of `depthwise`: every input row is read once for all the output rows it contributes to."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import await_inputs, mul_rn, round_even


@triton.jit
def _row(row, c, channels, GIVEN: tl.constexpr, EMPTY: tl.constexpr):
    """What a channel is multiplied by or increased by, or the number that changes nothing."""
    if GIVEN:
        return tl.load(row + c, mask=c < channels, other=0.0)
    else:
        return tl.zeros(c.shape, tl.float32) + EMPTY


@triton.jit
def _result(
    total, scale_row, bias_row, inverse, low, high, KIND: tl.constexpr, INTEGER: tl.constexpr, ROUND: tl.constexpr
):
    """A sum as it is stored: whole numbers are scaled and increased, and on request limited and rounded to a grid."""
    if INTEGER:
        total = mul_rn(total, scale_row) + bias_row
    if ROUND:
        total = round_even(tl.minimum(tl.maximum(total, low), high) * inverse)
    return total.to(KIND)


@triton.jit
def _float32(inverse, low, high):
    """Three numbers as float32: a compiled program hands on Python's as float64, in which `round_even` does nothing."""
    return tl.cast(inverse, tl.float32), tl.cast(low, tl.float32), tl.cast(high, tl.float32)


@writes("out")
@triton.jit
def depthwise_kernel(
    x,
    weight,
    bias,
    scale,
    out,
    inverse,
    low,
    high,
    out_height,
    out_width,
    channels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STRIDE: tl.constexpr,
    STEP: tl.constexpr,
    KERNEL: tl.constexpr,
    PAD: tl.constexpr,
    BIAS: tl.constexpr,
    SCALE: tl.constexpr,
    INTEGER: tl.constexpr,
    ROUND: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
):
    """TALL rows x WIDE pixels x COLS channels of one sample; the sums of all rows stay in registers.

    The sizes are constants, so that every address is one base register and a number in the instruction. STRIDE: numbers
    from one pixel of the input to the next; STEP: pixels of it from one of the output to the next.
    """
    await_inputs()
    inverse, low, high = _float32(inverse, low, high)
    across = (out_width + WIDE - 1) // WIDE
    left = tl.program_id(0) % across * WIDE
    top = tl.program_id(0) // across * TALL
    c = tl.program_id(1) * COLS + tl.arange(0, COLS)
    sample = tl.program_id(2).to(tl.int64)
    column = left + tl.arange(0, WIDE)
    met = column * STEP - PAD
    live = (c < channels)[None, :]
    x += (sample * HEIGHT + top * STEP - PAD) * WIDTH * STRIDE
    out += (sample * out_height + top) * out_width * channels
    corner = met[:, None] * STRIDE + c[None, :]
    bias_row = _row(bias, c, channels, BIAS, 0.0)[None, :]
    scale_row = _row(scale, c, channels, SCALE, 1.0)[None, :]
    start = tl.zeros((WIDE, COLS), tl.float32)
    if not INTEGER:
        start += bias_row
    sums = ()
    for _ in tl.static_range(TALL):
        sums = sums + (start,)
    for r in tl.static_range((TALL - 1) * STEP + KERNEL):
        row_inside = (top * STEP + r - PAD >= 0) & (top * STEP + r - PAD < HEIGHT)
        for dx in tl.static_range(KERNEL):
            inside = ((met + dx >= 0) & (met + dx < WIDTH))[:, None] & live & row_inside
            tile = tl.load(x + (r * WIDTH + dx) * STRIDE + corner, mask=inside, other=0).to(tl.float32)
            updated = ()
            for j in tl.static_range(TALL):
                if r - j * STEP >= 0 and r - j * STEP < KERNEL:
                    at = ((r - j * STEP) * KERNEL + dx) * channels
                    tap = tl.load(weight + at + c, mask=c < channels, other=0.0)
                    updated = updated + (sums[j] + tile * tap.to(tl.float32)[None, :],)
                else:
                    updated = updated + (sums[j],)
            sums = updated
    for j in tl.static_range(TALL):
        mask = (column < out_width)[:, None] & live & (top + j < out_height)
        at = (j * out_width + column)[:, None] * channels + c[None, :]
        kept = _result(sums[j], scale_row, bias_row, inverse, low, high, out.dtype.element_ty, INTEGER, ROUND)
        tl.store(out + at, kept, mask=mask)


@writes("out")
@triton.jit
def depthwise_stream_kernel(
    x,
    weight,
    bias,
    scale,
    out,
    inverse,
    low,
    high,
    height,
    width,
    out_height,
    out_width,
    channels,
    STRIDE: tl.constexpr,
    KERNEL: tl.constexpr,
    PAD: tl.constexpr,
    BIAS: tl.constexpr,
    SCALE: tl.constexpr,
    INTEGER: tl.constexpr,
    ROUND: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
    ROUNDS: tl.constexpr,
):
    """WIDE columns x COLS channels of one sample, all rows from top to bottom.

    A thread owns a channel: its taps, WIDE + KERNEL - 1 pixels of the current row and the sums of the KERNEL output
    rows that this row reaches stay in registers, so that a pixel is loaded and converted once for all its products.
    ROUNDS is out_height + KERNEL - 1; a constant, because the interpreter cannot loop to a runtime number (NumPy 2.4).
    """
    await_inputs()
    inverse, low, high = _float32(inverse, low, high)
    left = tl.program_id(0) * WIDE
    c = tl.program_id(1) * COLS + tl.arange(0, COLS)
    live = c < channels
    sample = tl.program_id(2).to(tl.int64)
    x += ((sample * height - PAD) * width + left - PAD) * STRIDE + c
    out += ((sample * out_height - (KERNEL - 1)) * out_width + left) * channels + c
    bias_row = _row(bias, c, channels, BIAS, 0.0)
    scale_row = _row(scale, c, channels, SCALE, 1.0)
    start = tl.zeros((COLS,), tl.float32)
    if not INTEGER:
        start += bias_row
    taps = ()
    for tap in tl.static_range(KERNEL * KERNEL):
        taps = taps + (tl.load(weight + tap * channels + c, mask=live, other=0.0).to(tl.float32),)
    fresh = ()
    for _ in tl.static_range(WIDE):
        fresh = fresh + (start,)
    sums = ()
    for _ in tl.static_range(KERNEL):
        sums = sums + fresh
    for r in range(ROUNDS):
        row_inside = (r >= PAD) & (r - PAD < height)
        pixels = ()
        for i in tl.static_range(WIDE + KERNEL - 1):
            inside = live & (row_inside & (left + i - PAD >= 0) & (left + i - PAD < width))
            pixels = pixels + (tl.load(x + i * STRIDE, mask=inside, other=0).to(tl.float32),)
        # sums[dy * WIDE + i] is of the output row that this input row reaches by the taps of row dy.
        moved = fresh
        for dy in tl.static_range(KERNEL):
            for i in tl.static_range(WIDE):
                total = sums[dy * WIDE + i]
                for dx in tl.static_range(KERNEL):
                    total += pixels[i + dx] * taps[dy * KERNEL + dx]
                if dy < KERNEL - 1:
                    moved = moved + (total,)
                else:
                    mask = live & ((r >= KERNEL - 1) & (left + i < out_width))
                    kept = _result(total, scale_row, bias_row, inverse, low, high, out.dtype.element_ty, INTEGER, ROUND)
                    tl.store(out + i * channels, kept, mask=mask)
        sums = moved
        x += width * STRIDE
        out += out_width * channels
