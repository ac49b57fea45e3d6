"""Triton kernel of `spike_conv_lif`: a convolution as a product over taps, its accumulator straight into the neuron."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import await_inputs, empty_sum, fresh_membrane, neuron_tile, operand, tile_rows


@writes("spikes", current="WANT_CURRENT")
@triton.jit
def spike_conv_lif_kernel(
    x,
    weight,
    scale,
    bias,
    residual,
    spikes,
    current,
    beside,
    pixels,
    cols,
    height,
    width,
    out_height,
    out_width,
    step_stride,
    residual_rows,
    factor,
    threshold,
    v_reset,
    spacing,
    inverse,
    low,
    high,
    least,
    corrections,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    OUTSIDE: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    WANT_CURRENT: tl.constexpr,
    LIMITED: tl.constexpr,
    ROUND: tl.constexpr,
    INTEGER: tl.constexpr,
    UPCAST: tl.constexpr,
    OUT: tl.constexpr,
    BESIDE: tl.constexpr,
    EVEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """ROWS pixels x COLS channels, all steps; the sums of CHUNK steps stand side by side and share the weight.

    OUTSIDE: what the image is padded with: of numbers less 128, -128, so that all pixels want the same correction.
    """
    await_inputs()
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    spacing, inverse = tl.cast(spacing, tl.float32), tl.cast(inverse, tl.float32)
    least = tl.cast(least, tl.float32)
    rounding = (spacing, inverse, tl.cast(low, tl.float32), tl.cast(high, tl.float32))
    # Programs of one row of pixels run side by side: they share its spikes in the cache.
    col_blocks = (cols + COLS - 1) // COLS
    row = tl.program_id(0) // col_blocks * ROWS
    col = tl.program_id(0) % col_blocks * COLS
    pixel = row + tl.arange(0, ROWS)
    c = col + tl.arange(0, COLS)
    k = tl.arange(0, BLOCK_K)
    sample = pixel // (out_height * out_width)
    top = pixel // out_width % out_height * STRIDE - PAD
    left = pixel % out_width * STRIDE - PAD
    corner_in = ((sample * height + top) * width + left) * CHANNELS
    scale_row, bias_row = tile_rows(scale, bias, col, cols, SCALE, BIAS, COLS)
    v = fresh_membrane(v_reset, HARD, ROWS, COLS)
    kind: tl.constexpr = weight.dtype.element_ty
    PARTS: tl.constexpr = (CHANNELS + BLOCK_K - 1) // BLOCK_K
    for start in range(0, T, CHUNK):
        step = x + tl.cast(start, tl.int64) * step_stride
        sums = ()
        for _ in tl.static_range(CHUNK):
            sums = sums + (empty_sum(INTEGER, ROWS, COLS),)
        for i in range(0, KERNEL * KERNEL * PARTS):
            tap = i // PARTS
            part = i % PARTS * BLOCK_K
            dy = tap // KERNEL
            dx = tap % KERNEL
            inside = (top + dy >= 0) & (top + dy < height) & (left + dx >= 0) & (left + dx < width) & (pixel < pixels)
            channel = part + k
            # The spikes of one tap and block of channels are one row of memory a pixel.
            at_in = (corner_in + (dy * width + dx) * CHANNELS)[:, None] + channel[None, :]
            at_weight = c[None, :] * (KERNEL * KERNEL * CHANNELS) + (tap * CHANNELS + channel)[:, None]
            b = tl.load(weight + at_weight, mask=(c < cols)[None, :] & (channel < CHANNELS)[:, None], other=0)
            b = operand(b, kind, UPCAST)
            products = ()
            for j in tl.static_range(CHUNK):
                at = step + j * step_stride
                a = tl.load(at + at_in, mask=inside[:, None] & (channel < CHANNELS)[None, :], other=OUTSIDE)
                products = products + (tl.dot(operand(a, kind, UPCAST), b, sums[j], out_dtype=sums[j].dtype),)
            sums = products
        for j in tl.static_range(CHUNK):
            total = sums[j]
            if OUTSIDE != 0:
                total += tl.load(corrections + c, mask=c < cols, other=0)[None, :]
            v = neuron_tile(
                total,
                v,
                start + j,
                scale_row,
                bias_row,
                residual,
                residual_rows,
                spikes,
                current,
                beside,
                row,
                col,
                pixels,
                cols,
                factor,
                threshold,
                v_reset,
                rounding,
                least,
                SCALE,
                BIAS,
                RESIDUAL,
                WANT_CURRENT,
                LIMITED,
                ROUND,
                LEAK,
                DECAY_INPUT,
                HARD,
                OUT,
                BESIDE,
                EVEN,
                ROWS,
                COLS,
            )
