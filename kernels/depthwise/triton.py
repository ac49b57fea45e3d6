"""Triton kernels of `depthwise`: every input row is read once for all the output rows it contributes to."""

import triton
import triton.language as tl


@triton.jit
def depthwise_kernel(
    x,
    weight,
    bias,
    out,
    out_height,
    out_width,
    channels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STRIDE: tl.constexpr,
    KERNEL: tl.constexpr,
    PAD: tl.constexpr,
    BIAS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
):
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


@triton.jit
def depthwise_stream_kernel(
    x,
    weight,
    bias,
    out,
    height,
    width,
    out_height,
    out_width,
    channels,
    STRIDE: tl.constexpr,
    KERNEL: tl.constexpr,
    PAD: tl.constexpr,
    BIAS: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
    ROUNDS: tl.constexpr,
):
    """WIDE columns x COLS channels of one sample, all rows from top to bottom.

    A thread owns a channel: its taps, WIDE + KERNEL - 1 pixels of the current row and the sums of the KERNEL output
    rows that this row reaches stay in registers, so that a pixel is loaded and converted once for all its products.
    ROUNDS is out_height + KERNEL - 1; a constant, because the interpreter cannot loop to a runtime number (NumPy 2.4).
    """
    left = tl.program_id(0) * WIDE
    c = tl.program_id(1) * COLS + tl.arange(0, COLS)
    live = c < channels
    sample = tl.program_id(2).to(tl.int64)
    x += ((sample * height - PAD) * width + left - PAD) * STRIDE + c
    out += ((sample * out_height - (KERNEL - 1)) * out_width + left) * channels + c
    start = tl.zeros((COLS,), tl.float32)
    if BIAS:
        start += tl.load(bias + c, mask=live, other=0.0)
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
                    tl.store(out + i * channels, total.to(out.dtype.element_ty), mask=mask)
        sums = moved
        x += width * STRIDE
        out += out_width * channels
