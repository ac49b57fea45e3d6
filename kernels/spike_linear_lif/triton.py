"""Triton kernel of `spike_linear_lif`: a product whose accumulator goes straight into the neuron, step by step."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import await_inputs, empty_sum, fresh_membrane, neuron_tile, operand, tile_rows


@triton.jit
def _load_spikes(
    spikes,
    row,
    k,
    rows,
    inner: tl.constexpr,
    words,
    stride,
    PACKED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """A [ROWS, BLOCK_K] tile of spikes, unpacked where they are packed."""
    r = tl.arange(0, ROWS)
    live = (row + r < rows)[:, None]
    if PACKED:
        spikes += row.to(tl.int64) * stride
        w = k // 32 + tl.arange(0, BLOCK_K // 32)
        packed = tl.load(spikes + r[:, None] * words + w[None, :], mask=live & (w < words)[None, :], other=0)
        lanes = (packed[:, :, None] >> tl.arange(0, 32)[None, None, :]) & 1
        return tl.reshape(lanes, (ROWS, BLOCK_K))
    else:
        c = k + tl.arange(0, BLOCK_K)
        spikes += row.to(tl.int64) * inner
        # By the constant: of a row's length that is no multiple of 16 the compiler knows no alignment otherwise.
        return tl.load(spikes + r[:, None] * inner + c[None, :], mask=live & (c < inner)[None, :], other=0)


@triton.jit
def _load_weight(weight, col, k, cols, inner, COLS: tl.constexpr, BLOCK_K: tl.constexpr):
    """The transposed [BLOCK_K, COLS] tile of the `[N, K]` weight."""
    n = col + tl.arange(0, COLS)
    c = k + tl.arange(0, BLOCK_K)
    at = n[None, :] * inner + c[:, None]
    return tl.load(weight + at, mask=(n < cols)[None, :] & (c < inner)[:, None], other=0)


@writes("spikes", v_last="WANT_V", current="WANT_CURRENT")
@triton.jit
def spike_linear_lif_kernel(
    spikes_in,
    weight,
    scale,
    bias,
    residual,
    spikes,
    current,
    beside,
    v0,
    v_last,
    rows,
    cols,
    words,
    stride,
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
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    INNER: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    WANT_CURRENT: tl.constexpr,
    LIMITED: tl.constexpr,
    ROUND: tl.constexpr,
    HAS_V0: tl.constexpr,
    WANT_V: tl.constexpr,
    PACKED: tl.constexpr,
    INTEGER: tl.constexpr,
    UPCAST: tl.constexpr,
    OUT: tl.constexpr,
    BESIDE: tl.constexpr,
    EVEN: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """ROWS x COLS neurons, all steps. The products of CHUNK steps are summed side by side: they share the weight."""
    await_inputs()
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    spacing, inverse = tl.cast(spacing, tl.float32), tl.cast(inverse, tl.float32)
    least = tl.cast(least, tl.float32)
    rounding = (spacing, inverse, tl.cast(low, tl.float32), tl.cast(high, tl.float32))
    # Programs of one row block run side by side: they share its spikes in the cache.
    col_blocks = (cols + COLS - 1) // COLS
    row = tl.program_id(0) // col_blocks * ROWS
    col = tl.program_id(0) % col_blocks * COLS
    mask = (row + tl.arange(0, ROWS) < rows)[:, None] & (col + tl.arange(0, COLS) < cols)[None, :]
    state = row.to(tl.int64) * cols + col
    offset = tl.arange(0, ROWS)[:, None] * cols + tl.arange(0, COLS)[None, :]
    scale_row, bias_row = tile_rows(scale, bias, col, cols, SCALE, BIAS, COLS)
    v = fresh_membrane(v_reset, HARD, ROWS, COLS)
    if HAS_V0:
        v = tl.load(v0 + state + offset, mask=mask, other=0.0)
    kind: tl.constexpr = weight.dtype.element_ty
    if ONE_BLOCK:
        held = operand(_load_weight(weight, col, 0, cols, INNER, COLS, BLOCK_K), kind, UPCAST)
    for start in range(0, T, CHUNK):
        step = spikes_in + tl.cast(start, tl.int64) * step_stride
        sums = ()
        for _ in tl.static_range(CHUNK):
            sums = sums + (empty_sum(INTEGER, ROWS, COLS),)
        if ONE_BLOCK:
            products = ()
            for i in tl.static_range(CHUNK):
                at = step + i * step_stride
                a = _load_spikes(at, row, 0, rows, INNER, words, stride, PACKED, ROWS, BLOCK_K)
                products = products + (tl.dot(operand(a, kind, UPCAST), held, sums[i], out_dtype=sums[i].dtype),)
            sums = products
        else:
            for k in range(0, INNER, BLOCK_K):
                b = operand(_load_weight(weight, col, k, cols, INNER, COLS, BLOCK_K), kind, UPCAST)
                products = ()
                for i in tl.static_range(CHUNK):
                    at = step + i * step_stride
                    a = _load_spikes(at, row, k, rows, INNER, words, stride, PACKED, ROWS, BLOCK_K)
                    products = products + (tl.dot(operand(a, kind, UPCAST), b, sums[i], out_dtype=sums[i].dtype),)
                sums = products
        for i in tl.static_range(CHUNK):
            v = neuron_tile(
                sums[i],
                v,
                start + i,
                scale_row,
                bias_row,
                residual,
                residual_rows,
                spikes,
                current,
                beside,
                row,
                col,
                rows,
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
    if WANT_V:
        tl.store(v_last + state + offset, v, mask=mask)
