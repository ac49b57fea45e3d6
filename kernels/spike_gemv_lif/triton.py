"""Triton kernel of `spike_gemv_lif`: rows of the weight are fetched only where a spike asks for them."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import as_spikes, charge, mul_rn, operand, reset


@triton.jit
def spike_gemv_lif_kernel(
    spikes_in, weight, scale, bias, spikes, rows, cols, width, factor, threshold, v_reset,
    T: tl.constexpr, PAD_T: tl.constexpr, INNER: tl.constexpr, LEAK: tl.constexpr, DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr, SCALE: tl.constexpr, BIAS: tl.constexpr, PACKED: tl.constexpr, INTEGER: tl.constexpr,
    UPCAST: tl.constexpr, COLS: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    row = tl.program_id(1)
    col = tl.program_id(0) * COLS + tl.arange(0, COLS)
    time = tl.arange(0, PAD_T)
    kind: tl.constexpr = weight.dtype.element_ty
    if INTEGER:
        acc = tl.zeros((PAD_T, COLS), tl.int32)
    else:
        acc = tl.zeros((PAD_T, COLS), tl.float32)
    for start in range(0, INNER, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        base = (time * rows + row)[:, None] * width
        mask = (time < T)[:, None] & (k < INNER)[None, :]
        if PACKED:
            s = (tl.load(spikes_in + base + (k // 32)[None, :], mask=mask, other=0) >> (k % 32)[None, :]) & 1
        else:
            s = tl.load(spikes_in + base + k[None, :], mask=mask, other=0).to(tl.int32)
        # A row of the weight that no step needs is not fetched from memory.
        active = tl.max(s, axis=0) > 0
        at = k.to(tl.int64)[:, None] * cols + col[None, :]
        w = tl.load(weight + at, mask=active[:, None] & (col < cols)[None, :], other=0)
        acc = tl.dot(operand(s, kind, UPCAST), operand(w, kind, UPCAST), acc, out_dtype=acc.dtype)
    scale_row = tl.zeros((COLS,), tl.float32)
    bias_row = tl.zeros((COLS,), tl.float32)
    if SCALE:
        scale_row = tl.load(scale + col, mask=col < cols, other=0.0)
    if BIAS:
        bias_row = tl.load(bias + col, mask=col < cols, other=0.0)
    v = tl.zeros((COLS,), tl.float32)
    if HARD == 1:
        v += v_reset
    for t in range(T):
        y = tl.sum(tl.where((time == t)[:, None], acc, 0), axis=0).to(tl.float32)
        if SCALE:
            y = mul_rn(y, scale_row)
        if BIAS:
            y = y + bias_row
        h = charge(y, v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
        s = h >= threshold
        v = reset(h, s, threshold, v_reset, HARD)
        out = spikes + (tl.cast(t, tl.int64) * rows + row) * cols + col
        tl.store(out, as_spikes(s, spikes.dtype.element_ty), mask=col < cols)
