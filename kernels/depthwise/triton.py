"""Triton kernel of `depthwise`: every input row is read once for all the output rows it contributes to."""

import triton
import triton.language as tl


@triton.jit
def depthwise_kernel(
    x, weight, bias, out, out_height, out_width, channels,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, STRIDE: tl.constexpr,
    KERNEL: tl.constexpr, PAD: tl.constexpr, BIAS: tl.constexpr,
    TALL: tl.constexpr, WIDE: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """TALL rows x WIDE pixels x COLS channels of one sample; the sums of all rows stay in registers.

    The sizes are constants, so that every address is one base register and a number in the instruction.
    """
    across = (out_width + WIDE - 1) // WIDE
    left = tl.program_id(0) % across * WIDE
    top = tl.program_id(0) // across * TALL
    c = tl.program_id(1) * COLS + tl.arange(0, COLS)
    sample = tl.program_id(2).to(tl.int64)
    column = left + tl.arange(0, WIDE)
    live = (c < channels)[None, :]
    x += (sample * HEIGHT + top - PAD) * WIDTH * STRIDE
    out += (sample * out_height + top) * out_width * channels
    corner = (column - PAD)[:, None] * STRIDE + c[None, :]
    start = tl.zeros((WIDE, COLS), tl.float32)
    if BIAS:
        start += tl.load(bias + c, mask=c < channels, other=0.0)[None, :]
    sums = ()
    for _ in tl.static_range(TALL):
        sums = sums + (start,)
    for r in tl.static_range(TALL + KERNEL - 1):
        row_inside = (top + r - PAD >= 0) & (top + r - PAD < HEIGHT)
        for dx in tl.static_range(KERNEL):
            inside = ((column + dx - PAD >= 0) & (column + dx - PAD < WIDTH))[:, None] & live & row_inside
            tile = tl.load(x + (r * WIDTH + dx) * STRIDE + corner, mask=inside, other=0).to(tl.float32)
            updated = ()
            for j in tl.static_range(TALL):
                if r - j >= 0 and r - j < KERNEL:
                    tap = tl.load(weight + ((r - j) * KERNEL + dx) * channels + c, mask=c < channels, other=0.0)
                    updated = updated + (sums[j] + tile * tap.to(tl.float32)[None, :],)
                else:
                    updated = updated + (sums[j],)
            sums = updated
    for j in tl.static_range(TALL):
        mask = (column < out_width)[:, None] & live & (top + j < out_height)
        at = (j * out_width + column)[:, None] * channels + c[None, :]
        tl.store(out + at, sums[j].to(out.dtype.element_ty), mask=mask)
