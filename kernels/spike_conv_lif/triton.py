"""Triton kernel of `spike_conv_lif`: a convolution as a product over taps, its accumulator straight into the neuron."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import neuron_epilogue, operand, store_spikes


@triton.jit
def spike_conv_lif_kernel(
    x, weight, scale, bias, residual, spikes, current,
    pixels, cols, height, width, out_height, out_width, step_stride, factor, threshold, v_reset,
    T: tl.constexpr, CHANNELS: tl.constexpr, KERNEL: tl.constexpr, STRIDE: tl.constexpr, PAD: tl.constexpr,
    LEAK: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr,
    SCALE: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, WANT_CURRENT: tl.constexpr,
    INTEGER: tl.constexpr, UPCAST: tl.constexpr, OUT: tl.constexpr, EVEN: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
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
    mask = (pixel < pixels)[:, None] & (c < cols)[None, :]
    corner = row.to(tl.int64) * cols + col
    offset = tl.arange(0, ROWS)[:, None] * cols + tl.arange(0, COLS)[None, :]
    scale_row = 1.0
    bias_row = 0.0
    if SCALE:
        scale_row = tl.load(scale + c, mask=c < cols, other=0.0)[None, :]
    if BIAS:
        bias_row = tl.load(bias + c, mask=c < cols, other=0.0)[None, :]
    v = tl.zeros((ROWS, COLS), tl.float32)
    if HARD == 1:
        v += v_reset
    kind: tl.constexpr = weight.dtype.element_ty
    PARTS: tl.constexpr = (CHANNELS + BLOCK_K - 1) // BLOCK_K
    for t in range(T):
        at = tl.cast(t, tl.int64)
        step = x + at * step_stride
        if INTEGER:
            acc = tl.zeros((ROWS, COLS), tl.int32)
        else:
            acc = tl.zeros((ROWS, COLS), tl.float32)
        for i in range(0, KERNEL * KERNEL * PARTS):
            tap = i // PARTS
            part = i % PARTS * BLOCK_K
            dy = tap // KERNEL
            dx = tap % KERNEL
            inside = (top + dy >= 0) & (top + dy < height) & (left + dx >= 0) & (left + dx < width) & (pixel < pixels)
            channel = part + k
            # The spikes of one tap and block of channels are one row of memory a pixel.
            at_in = (corner_in + (dy * width + dx) * CHANNELS)[:, None] + channel[None, :]
            a = tl.load(step + at_in, mask=inside[:, None] & (channel < CHANNELS)[None, :], other=0)
            at_weight = c[None, :] * (KERNEL * KERNEL * CHANNELS) + (tap * CHANNELS + channel)[:, None]
            b = tl.load(weight + at_weight, mask=(c < cols)[None, :] & (channel < CHANNELS)[:, None], other=0)
            acc = tl.dot(operand(a, kind, UPCAST), operand(b, kind, UPCAST), acc, out_dtype=acc.dtype)
        y, s, v = neuron_epilogue(
            acc, v, scale_row, bias_row, residual + at * pixels * cols + corner, offset, mask, factor, threshold,
            v_reset, SCALE, BIAS, RESIDUAL, LEAK, DECAY_INPUT, HARD,
        )  # fmt: skip
        out_cols = cols
        if OUT == 2:
            out_cols = (cols + 31) // 32
        store_spikes(spikes + at * pixels * out_cols, s, row, col, pixels, cols, OUT, EVEN, ROWS, COLS)
        if WANT_CURRENT:
            tl.store(current + at * pixels * cols + corner + offset, y.to(current.dtype.element_ty), mask=mask)
