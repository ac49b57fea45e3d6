"""Triton kernels of `spike_gemv_lif`: rows of the weight are fetched only where a spike asks for them."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import charge, empty_sum, fire_bits, mul_rn, operand


@triton.jit
def spike_gemv_kernel(
    spikes_in,
    weight,
    partial,
    rows,
    cols,
    width,
    T: tl.constexpr,
    PAD_T: tl.constexpr,
    INNER: tl.constexpr,
    SLICE: tl.constexpr,
    PACKED: tl.constexpr,
    INTEGER: tl.constexpr,
    UPCAST: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The product over one SLICE of K for COLS columns of one row, all steps: they share the weight's rows."""
    row = tl.program_id(1)
    col = tl.program_id(0) * COLS + tl.arange(0, COLS)
    begin = tl.program_id(2) * SLICE
    time = tl.arange(0, PAD_T)
    kind: tl.constexpr = weight.dtype.element_ty
    acc = empty_sum(INTEGER, PAD_T, COLS)
    base = (time * rows + row)[:, None] * width
    for start in range(0, SLICE, BLOCK_K):
        k = begin + start + tl.arange(0, BLOCK_K)
        mask = (time < T)[:, None] & (k < INNER)[None, :]
        if PACKED:
            s = (tl.load(spikes_in + base + (k // 32)[None, :], mask=mask, other=0) >> (k % 32)[None, :]) & 1
        else:
            s = tl.load(spikes_in + base + k[None, :], mask=mask, other=0)
        # A row of the weight that no step needs is not fetched from memory.
        active = tl.max(s.to(tl.int32), axis=0) > 0
        at = k.to(tl.int64)[:, None] * cols + col[None, :]
        w = tl.load(weight + at, mask=active[:, None] & (col < cols)[None, :], other=0)
        acc = tl.dot(operand(s, kind, UPCAST), operand(w, kind, UPCAST), acc, out_dtype=acc.dtype)
    out = ((tl.program_id(2) * T + time) * rows + row)[:, None] * cols + col[None, :]
    tl.store(partial + out, acc, mask=(time < T)[:, None] & (col < cols)[None, :])


@triton.jit
def spike_gemv_neuron_kernel(
    partial,
    scale,
    bias,
    spikes,
    rows,
    cols,
    factor,
    threshold,
    v_reset,
    T: tl.constexpr,
    SPLITS: tl.constexpr,
    PAD: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Adds the slices, in an order that is always the same, then affine and neuron over all steps."""
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    row = tl.program_id(1)
    col = tl.program_id(0) * COLS + tl.arange(0, COLS)
    valid = col < cols
    part = tl.arange(0, PAD)
    v = tl.zeros((COLS,), tl.float32)
    if HARD == 1:
        v += v_reset
    for t in tl.static_range(T):
        at = (t * rows + row) * cols + col
        parts = tl.load(
            partial + part[:, None] * (T * rows * cols) + at[None, :],
            mask=(part < SPLITS)[:, None] & valid[None, :],
            other=0,
        )
        y = tl.sum(parts, axis=0).to(tl.float32)
        if SCALE:
            y = mul_rn(y, tl.load(scale + col, mask=valid, other=0.0))
        if BIAS:
            y = y + tl.load(bias + col, mask=valid, other=0.0)
        h = charge(y, v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
        v, bits = fire_bits(h, tl.full((COLS,), 1, tl.int32), threshold, v_reset, HARD)
        tl.store(spikes + at, bits.to(tl.int8), mask=valid)
