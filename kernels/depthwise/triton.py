"""Triton kernel of `depthwise`: every input row is read once for all the output rows it contributes to."""

import triton
import triton.language as tl


@triton.jit
def depthwise_kernel(
    x, weight, bias, out, height, width, out_height, out_width, channels, x_stride, out_stride,
    KERNEL: tl.constexpr, PAD: tl.constexpr, BIAS: tl.constexpr,
    TALL: tl.constexpr, WIDE: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """TALL rows x WIDE pixels x COLS channels of one sample; the accumulators of all rows stay in registers."""
    across = (out_width + WIDE - 1) // WIDE
    left = tl.program_id(0) % across * WIDE
    top = tl.program_id(0) // across * TALL
    c = tl.program_id(1) * COLS + tl.arange(0, COLS)
    sample = tl.program_id(2).to(tl.int64)
    column = left + tl.arange(0, WIDE)
    live = c < channels
    x += sample * height * width * x_stride
    out += sample * out_height * out_width * out_stride
    start = tl.zeros((WIDE, COLS), tl.float32)
    if BIAS:
        start += tl.load(bias + c, mask=live, other=0.0)[None, :]
    sums = ()
    for _ in tl.static_range(TALL):
        sums = sums + (start,)
    for r in tl.static_range(TALL + KERNEL - 1):
        y = top + r - PAD
        for dx in tl.static_range(KERNEL):
            at = column + dx - PAD
            inside = (at >= 0) & (at < width) & (y >= 0) & (y < height)
            tile = tl.load(x + (y * width + at)[:, None] * x_stride + c[None, :], mask=inside[:, None] & live[None, :],
                           other=0).to(tl.float32)  # fmt: skip
            updated = ()
            for j in tl.static_range(TALL):
                if r - j >= 0 and r - j < KERNEL:
                    tap = tl.load(weight + ((r - j) * KERNEL + dx) * channels + c, mask=live, other=0.0)
                    updated = updated + (sums[j] + tile * tap.to(tl.float32)[None, :],)
                else:
                    updated = updated + (sums[j],)
            sums = updated
    for j in tl.static_range(TALL):
        y = top + j
        mask = ((column < out_width) & (y < out_height))[:, None] & live[None, :]
        tl.store(out + (y * out_width + column)[:, None] * out_stride + c[None, :],
                 sums[j].to(out.dtype.element_ty), mask=mask)  # fmt: skip
