"""Triton kernels of `lif`: every element is read once and written once; the state stays in registers."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import (
    OUT_PACKED,
    as_spikes,
    await_inputs,
    charge,
    mul_rn,
    pack_flat,
    reset,
    surrogate,
)


@triton.jit
def _load_current(
    x,
    residual,
    scale_row,
    bias_row,
    offset,
    mask,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
):
    """X * scale + bias + residual, each step rounded to float32."""
    y = tl.load(x + offset, mask=mask, other=0.0).to(tl.float32)
    if SCALE:
        y = mul_rn(y, scale_row)
    if BIAS:
        y = y + bias_row
    if RESIDUAL:
        y = y + tl.load(residual + offset, mask=mask, other=0.0).to(tl.float32)
    return y


@triton.jit
def _positions(base, limit, channels, PADDED: tl.constexpr, BLOCK: tl.constexpr):
    """Offsets of a program's elements behind its first one, their channels, and which of them exist.

    Rows whose length is no multiple of 32 are walked as if they were padded to one, so that every word of packed
    spikes belongs to one program.
    """
    lane = tl.arange(0, BLOCK)
    if PADDED:
        width = (channels + 31) // 32 * 32
        position = base + lane
        row = position // width
        channel = (position % width).to(tl.int32)
        valid = (position < limit) & (channel < channels)
        return row * channels + channel, channel, valid
    else:
        channel = ((base % channels).to(tl.int32) + lane) % channels
        return base + lane, channel, lane < limit - base


@writes("spikes", v_last="WANT_V", current="WANT_CURRENT")
@triton.jit
def lif_forward_kernel(
    x,
    v0,
    scale,
    bias,
    residual,
    decay,
    spikes,
    v_last,
    current,
    limit,
    words,
    channels,
    x_stride,
    residual_stride,
    out_stride,
    factor,
    threshold,
    v_reset,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    HAS_V0: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    WANT_V: tl.constexpr,
    WANT_CURRENT: tl.constexpr,
    OUT: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    await_inputs()
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    if LEAK == 3:
        factor = tl.load(decay).to(tl.float32)
    base = tl.program_id(0).to(tl.int64) * BLOCK
    offset, channel, mask = _positions(base, limit, channels, PADDED, BLOCK)
    scale_row = 0.0
    bias_row = 0.0
    if SCALE:
        scale_row = tl.load(scale + channel, mask=mask, other=0.0)
    if BIAS:
        bias_row = tl.load(bias + channel, mask=mask, other=0.0)
    if HAS_V0:
        v = tl.load(v0 + offset, mask=mask, other=0.0)
    else:
        v = tl.zeros((BLOCK,), tl.float32)
        if HARD == 1:
            v += v_reset
    word = tl.program_id(0).to(tl.int64) * (BLOCK // 32) + tl.arange(0, BLOCK // 32)
    for start in range(0, T, CHUNK):
        # All loads of a chunk come before its first store: they are in flight together.
        ys = ()
        for i in tl.static_range(CHUNK):
            t = tl.cast(start + i, tl.int64)
            y = _load_current(
                x + t * x_stride,
                residual + t * residual_stride,
                scale_row,
                bias_row,
                offset,
                mask,
                SCALE,
                BIAS,
                RESIDUAL,
            )
            ys = ys + (y,)
        for i in tl.static_range(CHUNK):
            t = tl.cast(start + i, tl.int64)
            h = charge(ys[i], v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
            s = h >= threshold
            v = reset(h, s, threshold, v_reset, HARD)
            if OUT == OUT_PACKED:
                if PADDED:
                    # A position that does not exist must leave a zero bit, whatever its membrane is.
                    s = s & mask
                tl.store(spikes + t * words + word, pack_flat(s, BLOCK), mask=word < words)
            else:
                tl.store(spikes + t * out_stride + offset, as_spikes(s, spikes.dtype.element_ty), mask=mask)
            if WANT_CURRENT:
                tl.store(current + t * out_stride + offset, ys[i].to(current.dtype.element_ty), mask=mask)
    if WANT_V:
        tl.store(v_last + offset, v, mask=mask)


@triton.jit
def lif_backward_kernel(
    grad_spikes,
    grad_v,
    grad_current,
    x,
    v0,
    scale,
    bias,
    residual,
    decay,
    grad_y,
    grad_v0,
    grad_decay,
    limit,
    channels,
    x_stride,
    residual_stride,
    out_stride,
    factor,
    rate,
    threshold,
    v_reset,
    alpha,
    T: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    HAS_V0: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    HAS_GV: tl.constexpr,
    HAS_GCURRENT: tl.constexpr,
    SURROGATE: tl.constexpr,
    DETACH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    rate = tl.cast(rate, tl.float32)
    alpha = tl.cast(alpha, tl.float32)
    if LEAK == 3:
        factor = tl.load(decay).to(tl.float32)
        rate = factor
    base = tl.program_id(0).to(tl.int64) * BLOCK
    offset, channel, mask = _positions(base, limit, channels, False, BLOCK)
    scale_row = 0.0
    bias_row = 0.0
    if SCALE:
        scale_row = tl.load(scale + channel, mask=mask, other=0.0)
    if BIAS:
        bias_row = tl.load(bias + channel, mask=mask, other=0.0)
    rest = tl.zeros((BLOCK,), tl.float32)
    if HARD == 1:
        rest += v_reset
    v = rest
    if HAS_V0:
        v = tl.load(v0 + offset, mask=mask, other=0.0)
    first = v
    # The same instructions as in the forward pass give the same charged membranes: none is stored.
    ys = ()
    gs = ()
    for t in tl.static_range(T):
        at = tl.cast(t, tl.int64)
        y = _load_current(
            x + at * x_stride,
            residual + at * residual_stride,
            scale_row,
            bias_row,
            offset,
            mask,
            SCALE,
            BIAS,
            RESIDUAL,
        )
        ys = ys + (y,)
        gs = gs + (tl.load(grad_spikes + at * out_stride + offset, mask=mask, other=0.0),)
    hs = ()
    for t in tl.static_range(T):
        h = charge(ys[t], v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
        hs = hs + (h,)
        v = reset(h, h >= threshold, threshold, v_reset, HARD)
    carry = tl.zeros((BLOCK,), tl.float32)
    if HAS_GV:
        carry = tl.load(grad_v + offset, mask=mask, other=0.0)
    total = tl.zeros((BLOCK,), tl.float32)
    for back in tl.static_range(T):
        at = tl.cast(T - 1 - back, tl.int64)
        h = hs[T - 1 - back]
        s = h >= threshold
        derivative = surrogate(h - threshold, alpha, SURROGATE)
        if HARD:
            through = tl.where(s, 0.0, 1.0)
            if not DETACH:
                through += (v_reset - h) * derivative
        else:
            through = tl.zeros((BLOCK,), tl.float32) + 1.0
            if not DETACH:
                through -= threshold * derivative
        grad_h = gs[T - 1 - back].to(tl.float32) * derivative + carry * through
        grad = grad_h
        carry = grad_h
        if LEAK != 0:
            carry = grad_h * (1.0 - rate)
            if DECAY_INPUT:
                grad = grad_h * rate
        if LEAK == 3:
            if back == T - 1:
                before = first
            else:
                before = reset(hs[T - 2 - back], hs[T - 2 - back] >= threshold, threshold, v_reset, HARD)
            slope = rest - before
            if DECAY_INPUT:
                slope += ys[T - 1 - back]
            total += tl.where(mask, grad_h * slope, 0.0)
        if HAS_GCURRENT:
            grad += tl.load(grad_current + at * out_stride + offset, mask=mask, other=0.0).to(tl.float32)
        tl.store(grad_y + at * out_stride + offset, grad.to(grad_y.dtype.element_ty), mask=mask)
    tl.store(grad_v0 + offset, carry, mask=mask)
    if LEAK == 3:
        tl.store(grad_decay + tl.program_id(0), tl.sum(total, axis=0))


@triton.jit
def lif_sequence_kernel(
    x,
    v0,
    steps,
    limit,
    spikes,
    v_last,
    factor: tl.constexpr,
    threshold: tl.constexpr,
    v_reset: tl.constexpr,
    CHUNK: tl.constexpr,
    EVEN: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The neuron over any number of steps, its parameters constants: what a TensorRT plugin launches.

    TensorRT passes pointers to the inputs, 32-bit integers, then pointers to the outputs, and no floats. EVEN: the
    number of steps is a multiple of CHUNK.
    """
    await_inputs()
    threshold_ = tl.cast(threshold, tl.float32)
    v_reset_ = tl.cast(v_reset, tl.float32)
    factor_ = tl.cast(factor, tl.float32)
    base = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    offset = base + lane
    mask = lane < limit - base
    v = tl.load(v0 + offset, mask=mask, other=0.0)
    start = 0
    while start < steps:  # the interpreter cannot count to a number that is an argument (NumPy 2.4)
        ys = ()
        for i in tl.static_range(CHUNK):
            live = mask
            if not EVEN:
                live = mask & (start + i < steps)
            at = tl.cast(start + i, tl.int64) * limit + offset
            ys = ys + (tl.load(x + at, mask=live, other=0.0).to(tl.float32),)
        for i in tl.static_range(CHUNK):
            live = mask
            if not EVEN:
                live = mask & (start + i < steps)
            at = tl.cast(start + i, tl.int64) * limit + offset
            h = charge(ys[i], v, factor_, v_reset_, LEAK, DECAY_INPUT, HARD)
            s = h >= threshold_
            tl.store(spikes + at, as_spikes(s, spikes.dtype.element_ty), mask=live)
            after = reset(h, s, threshold_, v_reset_, HARD)
            if EVEN:
                v = after
            else:
                v = tl.where(start + i < steps, after, v)
        start += CHUNK
    tl.store(v_last + offset, v, mask=mask)
