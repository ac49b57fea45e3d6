"""Triton kernels of `gate_lif`: sums of spikes over tokens or channels, neurons, and what these let through."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import as_spikes, await_inputs, charge, mul_rn, reset, store_spikes


@triton.jit
def _load(x, row, rows, col, inside, width, PACKED: tl.constexpr):
    """A tile of spikes at rows `row` and columns `col`: whether each is one; none is where either is outside."""
    mask = (row < rows)[:, None] & inside[None, :]
    if PACKED:
        word = tl.load(x + row[:, None] * width + (col // 32)[None, :], mask=mask, other=0)
        return ((word >> (col % 32)[None, :]) & 1) != 0
    else:
        return tl.load(x + row[:, None] * width + col[None, :], mask=mask, other=0) != 0


@triton.jit
def _counted(a, b, row, rows, col, inside, width, HAS_B: tl.constexpr, PACKED: tl.constexpr):
    """Ones where `a`, and `b` if there is one, spike."""
    both = _load(a, row, rows, col, inside, width, PACKED)
    if HAS_B:
        both = both & _load(b, row, rows, col, inside, width, PACKED)
    return both.to(tl.int32)


@triton.jit
def _fire(
    count, membrane, factor, scale, threshold, v_reset, LEAK: tl.constexpr, DECAY: tl.constexpr, HARD: tl.constexpr
):
    """One step of the neurons on their counts; returns their spikes and their membranes."""
    x = count.to(tl.float32)
    h = charge(mul_rn(x, scale + tl.zeros_like(x)), membrane, factor, v_reset, LEAK, DECAY, HARD)
    s = h >= threshold
    return s, reset(h, s, threshold, v_reset, HARD)


@writes("spikes", gate="WANT_GATE")
@triton.jit
def gate_tokens_kernel(
    mask,
    a,
    b,
    spikes,
    gate,
    factor,
    scale,
    threshold,
    v_reset,
    batch,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    MASK_AT: tl.constexpr,
    A_AT: tl.constexpr,
    B_AT: tl.constexpr,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    HAS_B: tl.constexpr,
    WANT_GATE: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    PACKED: tl.constexpr,
    OUT: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Mask * LIF(scale * sum over tokens of a * b) for COLS channels of one sample, all time steps.

    MASK_AT, A_AT, B_AT: first channel of each, where all are one tensor of WIDTH channels.
    """
    await_inputs()
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    scale = tl.cast(scale, tl.float32)
    sample = tl.program_id(0)
    first = tl.program_id(1) * COLS
    col = first + tl.arange(0, COLS)
    inside = col < CHANNELS
    membrane = tl.zeros((COLS,), tl.float32)
    if HARD == 1:
        membrane += v_reset
    for begin in range(0, T, CHUNK):
        # The sums of a chunk's steps do not wait for each other: their loads are in flight together.
        sums = ()
        for i in tl.static_range(CHUNK):
            step = (tl.cast(begin + i, tl.int64) * batch + sample) * TOKENS
            count = tl.zeros((COLS,), tl.int32)
            for start in range(0, TOKENS, ROWS):
                token = start + tl.arange(0, ROWS)
                ones = _counted(
                    a + A_AT + step * WIDTH, b + B_AT + step * WIDTH, token, TOKENS, col, inside, WIDTH, HAS_B, PACKED
                )
                count += tl.sum(ones, axis=0)
            sums = sums + (count,)
        for i in tl.static_range(CHUNK):
            at = tl.cast(begin + i, tl.int64) * batch + sample
            s, membrane = _fire(sums[i], membrane, factor, scale, threshold, v_reset, LEAK, DECAY_INPUT, HARD)
            if WANT_GATE:
                tl.store(gate + at * CHANNELS + col, as_spikes(s, gate.dtype.element_ty), mask=inside)
            for start in range(0, TOKENS, ROWS):
                token = start + tl.arange(0, ROWS)
                through = _load(mask + MASK_AT + at * TOKENS * WIDTH, token, TOKENS, col, inside, WIDTH, PACKED)
                through = through & s[None, :]
                out = spikes + at * TOKENS * OUT_WIDTH
                if OUT == 2:
                    store_spikes(out, through, start, first, TOKENS, CHANNELS, ROWS, COLS)
                else:
                    place = token[:, None] * OUT_WIDTH + col[None, :]
                    live = (token < TOKENS)[:, None] & inside[None, :]
                    tl.store(out + place, as_spikes(through, spikes.dtype.element_ty), mask=live)


@writes("spikes", gate="WANT_GATE")
@triton.jit
def gate_channels_kernel(
    mask,
    a,
    b,
    spikes,
    gate,
    factor,
    scale,
    threshold,
    v_reset,
    batch,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    MASK_AT: tl.constexpr,
    A_AT: tl.constexpr,
    B_AT: tl.constexpr,
    TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_B: tl.constexpr,
    WANT_GATE: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Mask * LIF(scale * sum over a head's channels of a * b) for ROWS tokens of one head, all time steps."""
    await_inputs()
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    scale = tl.cast(scale, tl.float32)
    sample = tl.program_id(0) // HEADS
    head = tl.program_id(0) % HEADS
    token = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    lane = tl.arange(0, COLS)
    col = head * DIM + lane
    inside = lane < DIM
    membrane = tl.zeros((ROWS,), tl.float32)
    if HARD == 1:
        membrane += v_reset
    for begin in range(0, T, CHUNK):
        sums = ()
        for i in tl.static_range(CHUNK):
            step = (tl.cast(begin + i, tl.int64) * batch + sample) * TOKENS * WIDTH
            ones = _counted(a + A_AT + step, b + B_AT + step, token, TOKENS, col, inside, WIDTH, HAS_B, False)
            sums = sums + (tl.sum(ones, axis=1),)
        for i in tl.static_range(CHUNK):
            at = (tl.cast(begin + i, tl.int64) * batch + sample) * TOKENS
            s, membrane = _fire(sums[i], membrane, factor, scale, threshold, v_reset, LEAK, DECAY_INPUT, HARD)
            live = token < TOKENS
            if WANT_GATE:
                tl.store(gate + (at + token) * HEADS + head, as_spikes(s, gate.dtype.element_ty), mask=live)
            through = _load(mask + MASK_AT + at * WIDTH, token, TOKENS, col, inside, WIDTH, False) & s[:, None]
            place = token[:, None] * (HEADS * DIM) + col[None, :]
            kept = as_spikes(through, spikes.dtype.element_ty)
            tl.store(spikes + at * (HEADS * DIM) + place, kept, mask=live[:, None] & inside[None, :])
