"""Triton kernel of `spike_linear_lif`: a product whose accumulator goes straight into the neuron, step by step."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import neuron_epilogue, operand, store_spikes


@triton.jit
def _load_spikes(
    spikes, row, k, rows, inner, words, stride, PACKED: tl.constexpr, ROWS: tl.constexpr, BLOCK_K: tl.constexpr
):  # fmt: skip
    """A [ROWS, BLOCK_K] tile of spikes, unpacked where they are packed."""
    r = tl.arange(0, ROWS)
    live = (row + r < rows)[:, None]
    spikes += row.to(tl.int64) * stride
    if PACKED:
        w = k // 32 + tl.arange(0, BLOCK_K // 32)
        packed = tl.load(spikes + r[:, None] * words + w[None, :], mask=live & (w < words)[None, :], other=0)
        lanes = (packed[:, :, None] >> tl.arange(0, 32)[None, None, :]) & 1
        return tl.reshape(lanes, (ROWS, BLOCK_K)).to(tl.int8)
    else:
        c = k + tl.arange(0, BLOCK_K)
        return tl.load(spikes + r[:, None] * stride + c[None, :], mask=live & (c < inner)[None, :], other=0)


@triton.jit
def _load_weight(weight, col, k, cols, inner, COLS: tl.constexpr, BLOCK_K: tl.constexpr):
    """The transposed [BLOCK_K, COLS] tile of the `[N, K]` weight."""
    n = col + tl.arange(0, COLS)
    c = k + tl.arange(0, BLOCK_K)
    at = n[None, :] * inner + c[:, None]
    return tl.load(weight + at, mask=(n < cols)[None, :] & (c < inner)[:, None], other=0)


@triton.jit
def spike_linear_lif_kernel(
    spikes_in, weight, scale, bias, residual, spikes, current, v0, v_last,
    rows, cols, words, stride, step_stride, factor, threshold, v_reset,
    T: tl.constexpr, INNER: tl.constexpr, LEAK: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr,
    SCALE: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, WANT_CURRENT: tl.constexpr,
    HAS_V0: tl.constexpr, WANT_V: tl.constexpr,
    PACKED: tl.constexpr, INTEGER: tl.constexpr, UPCAST: tl.constexpr, OUT: tl.constexpr, EVEN: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    # Programs of one row block run side by side: they share its spikes in the cache.
    col_blocks = (cols + COLS - 1) // COLS
    row = tl.program_id(0) // col_blocks * ROWS
    col = tl.program_id(0) % col_blocks * COLS
    r = row + tl.arange(0, ROWS)
    c = col + tl.arange(0, COLS)
    mask = (r < rows)[:, None] & (c < cols)[None, :]
    # One 64-bit base a tile and 32-bit offsets inside it: 64-bit offsets a element would cost half the registers.
    corner = row.to(tl.int64) * cols + col
    offset = tl.arange(0, ROWS)[:, None] * cols + tl.arange(0, COLS)[None, :]
    out_words = (cols + 31) // 32
    scale_row = 1.0
    bias_row = 0.0
    if SCALE:
        scale_row = tl.load(scale + c, mask=c < cols, other=0.0)[None, :]
    if BIAS:
        bias_row = tl.load(bias + c, mask=c < cols, other=0.0)[None, :]
    v = tl.zeros((ROWS, COLS), tl.float32)
    if HARD == 1:
        v += v_reset
    if HAS_V0:
        v = tl.load(v0 + corner + offset, mask=mask, other=0.0)
    kind: tl.constexpr = weight.dtype.element_ty
    if ONE_BLOCK:
        held = operand(_load_weight(weight, col, 0, cols, INNER, COLS, BLOCK_K), kind, UPCAST)
    for t in range(T):
        at = tl.cast(t, tl.int64)
        step = spikes_in + at * step_stride
        if INTEGER:
            acc = tl.zeros((ROWS, COLS), tl.int32)
        else:
            acc = tl.zeros((ROWS, COLS), tl.float32)
        if ONE_BLOCK:
            a = operand(_load_spikes(step, row, 0, rows, INNER, words, stride, PACKED, ROWS, BLOCK_K), kind, UPCAST)
            acc = tl.dot(a, held, acc, out_dtype=acc.dtype)
        else:
            for k in range(0, INNER, BLOCK_K):
                a = _load_spikes(step, row, k, rows, INNER, words, stride, PACKED, ROWS, BLOCK_K)
                b = _load_weight(weight, col, k, cols, INNER, COLS, BLOCK_K)
                acc = tl.dot(operand(a, kind, UPCAST), operand(b, kind, UPCAST), acc, out_dtype=acc.dtype)
        y, s, v = neuron_epilogue(
            acc, v, scale_row, bias_row, residual + at * rows * cols + corner, offset, mask, factor, threshold, v_reset,
            SCALE, BIAS, RESIDUAL, LEAK, DECAY_INPUT, HARD,
        )  # fmt: skip
        if OUT == 2:
            store_spikes(spikes + at * rows * out_words, s, row, col, rows, cols, OUT, EVEN, ROWS, COLS)
        else:
            store_spikes(spikes + at * rows * cols, s, row, col, rows, cols, OUT, EVEN, ROWS, COLS)
        if WANT_CURRENT:
            tl.store(current + at * rows * cols + corner + offset, y.to(current.dtype.element_ty), mask=mask)
    if WANT_V:
        tl.store(v_last + corner + offset, v, mask=mask)
