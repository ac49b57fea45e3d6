"""Triton kernel of `pool_lif`: windows of currents are pooled in registers, and the neuron fires on what is left."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import as_spikes, await_inputs, charge, on_grid, reset


@triton.jit
def _pooled(
    x,
    first,
    down,
    across,
    channel,
    live,
    H: tl.constexpr,
    W: tl.constexpr,
    CHANNELS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    MEAN: tl.constexpr,
):
    """The largest, or the mean, of TALL x WIDE pixels from (down, across) on, of images that begin at pixel `first`."""
    if MEAN:
        y = tl.zeros_like(channel).to(tl.float32)
    else:
        y = tl.zeros_like(channel).to(tl.float32) - float("inf")
    for i in tl.static_range(TALL):
        for j in tl.static_range(WIDE):
            row, col = down + i, across + j
            inside = live & (row >= 0) & (row < H) & (col >= 0) & (col < W)
            at = (first + row * W + col).to(tl.int64) * CHANNELS + channel
            if MEAN:
                y += tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
            else:
                y = tl.maximum(y, tl.load(x + at, mask=inside, other=-float("inf")).to(tl.float32))
    if MEAN:
        # A mean is rounded as a tensor of the input's type would be.
        y = tl.div_rn(y, tl.zeros_like(y) + TALL * WIDE).to(x.dtype.element_ty).to(tl.float32)
    return tl.where(live, y, 0.0)


@writes("spikes", current="WANT_CURRENT")
@triton.jit
def pool_lif_kernel(
    x,
    spikes,
    current,
    limit,
    x_step,
    factor,
    threshold,
    v_reset,
    unit,
    inverse,
    low,
    high,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    OUT_H: tl.constexpr,
    OUT_W: tl.constexpr,
    CHANNELS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    TOP: tl.constexpr,
    LEFT: tl.constexpr,
    MEAN: tl.constexpr,
    ROUND: tl.constexpr,
    WANT_CURRENT: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """LIF(pool(x)) for BLOCK neurons, channels innermost, over all time steps.

    limit: neurons of one step. x_step: elements of one step of x.
    """
    await_inputs()
    factor = tl.cast(factor, tl.float32)
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    rounding = (
        tl.cast(unit, tl.float32),
        tl.cast(inverse, tl.float32),
        tl.cast(low, tl.float32),
        tl.cast(high, tl.float32),
    )
    base = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    live = lane < limit - base
    # Pixels are counted in 32 bits, elements in 64.
    along = (base % CHANNELS).to(tl.int32) + lane
    pixel = (base // CHANNELS).to(tl.int32) + along // CHANNELS
    channel = along % CHANNELS
    first = pixel // (OUT_W * OUT_H) * (H * W)
    down = pixel // OUT_W % OUT_H * DOWN - TOP
    across = pixel % OUT_W * ACROSS - LEFT
    v = tl.zeros((BLOCK,), tl.float32)
    if HARD == 1:
        v += v_reset
    for start in range(0, T, CHUNK):
        # All loads of a chunk come before its first store: they are in flight together.
        ys = ()
        for i in tl.static_range(CHUNK):
            step = x + tl.cast(start + i, tl.int64) * x_step
            ys = ys + (_pooled(step, first, down, across, channel, live, H, W, CHANNELS, TALL, WIDE, MEAN),)
        for i in tl.static_range(CHUNK):
            at = tl.cast(start + i, tl.int64) * limit + base + lane
            y = ys[i]
            if ROUND:
                y = on_grid(y, rounding)
            if WANT_CURRENT:
                tl.store(current + at, y.to(current.dtype.element_ty), mask=live)
            h = charge(y, v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
            s = h >= threshold
            v = reset(h, s, threshold, v_reset, HARD)
            tl.store(spikes + at, as_spikes(s, spikes.dtype.element_ty), mask=live)
