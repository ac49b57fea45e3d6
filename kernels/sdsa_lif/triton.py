"""Triton kernels of `sdsa_lif`: attention among spikes with its neuron, read token by token as it lies in memory."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import (
    as_spikes,
    charge,
    fresh_membrane,
    mul_rn,
    operand,
    pack_rows,
    reset,
    store_spikes,
)


@triton.jit
def _load(
    x, row, rows, col, lane, size, FULL: tl.constexpr, width, PACKED: tl.constexpr, WHOLE: tl.constexpr
):  # fmt: skip
    """A tile of spikes at rows `row` and columns `col`, as 0 or 1; `lane` < `size` exist (FULL: every one)."""
    mask = (row < rows)[:, None]
    if not FULL:
        mask = mask & (lane < size)[None, :]
    if PACKED and WHOLE:
        # The tile begins and ends with a word: every word is read once.
        ROWS: tl.constexpr = row.shape[0]
        COLS: tl.constexpr = col.shape[0]
        word = tl.min(col, axis=0) // 32 + tl.arange(0, COLS // 32)
        last = tl.max(tl.where(lane < size, col, 0), axis=0) // 32
        packed = tl.load(x + row[:, None] * width + word[None, :], mask=(row < rows)[:, None] & (word <= last)[None, :],
                         other=0)  # fmt: skip
        return tl.reshape((packed[:, :, None] >> tl.arange(0, 32)[None, None, :]) & 1, (ROWS, COLS))
    elif PACKED:
        word = tl.load(x + row[:, None] * width + (col // 32)[None, :], mask=mask, other=0)
        return (word >> (col % 32)[None, :]) & 1
    else:
        return tl.load(x + row[:, None] * width + col[None, :], mask=mask, other=0)


@triton.jit
def _outer(
    k, v, pairs, token, col, lane, out_col, part, width,
    TOKENS: tl.constexpr, DIM: tl.constexpr, PAD: tl.constexpr, COLS: tl.constexpr, KIND: tl.constexpr,
    UPCAST: tl.constexpr, PACKED: tl.constexpr,
):  # fmt: skip
    """Adds the tokens' K^T V."""
    keys = _load(k, token, TOKENS, col, lane, DIM, DIM == PAD, width, PACKED, DIM % 32 == 0)
    whole: tl.constexpr = DIM % 32 == 0 and COLS % 32 == 0
    values = _load(v, token, TOKENS, out_col, part, DIM, DIM % COLS == 0, width, PACKED, whole)
    return tl.dot(tl.trans(operand(keys, KIND, UPCAST)), operand(values, KIND, UPCAST), pairs)


@triton.jit
def sdsa_qkv_kernel(
    q, k, v, spikes, factor, scale, threshold, v_reset, batch, channels, width, out_width,
    T: tl.constexpr, TOKENS: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, PAD: tl.constexpr,
    LEAK: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr, PACKED: tl.constexpr, OUT: tl.constexpr,
    BRAIN: tl.constexpr, UPCAST: tl.constexpr, SPLIT: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
    INNER: tl.constexpr,
):  # fmt: skip
    """LIF(scale * Q (K^T V)) for COLS channels of one head of one sample and ROWS tokens, all time steps.

    Every number is a count: K^T V is at most the number of tokens, which bfloat16 (BRAIN) holds exactly up to 256 and
    float16 up to 2048 (SPLIT cuts larger counts into two digits), and float32 adds the products exactly below 2^24.
    """
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    scale = tl.cast(scale, tl.float32)
    KIND: tl.constexpr = tl.bfloat16 if BRAIN else tl.float16
    PARTS: tl.constexpr = (DIM + COLS - 1) // COLS
    # The parts of a head run side by side: they share its keys and queries in the cache.
    sample = tl.program_id(0) // (HEADS * PARTS)
    head = tl.program_id(0) // PARTS % HEADS
    begin = tl.program_id(0) % PARTS * COLS
    lane = tl.arange(0, PAD)
    part = begin + tl.arange(0, COLS)
    col = head * DIM + lane
    out_col = head * DIM + part
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    membrane = fresh_membrane(v_reset, HARD, ROWS, COLS)
    for t in range(T):
        step = (tl.cast(t, tl.int64) * batch + sample) * TOKENS
        queries = _load(q + step * width, row, TOKENS, col, lane, DIM, DIM == PAD, width, PACKED, DIM % 32 == 0)
        pairs = tl.zeros((PAD, COLS), tl.float32)
        if TOKENS <= INNER:
            # Without a loop of its own, the next step's loads are in flight during this step's products.
            pairs = _outer(
                k + step * width, v + step * width, pairs, tl.arange(0, INNER), col, lane, out_col, part, width,
                TOKENS, DIM, PAD, COLS, KIND, UPCAST, PACKED,
            )  # fmt: skip
        else:
            for start in range(0, TOKENS, INNER):
                pairs = _outer(
                    k + step * width, v + step * width, pairs, start + tl.arange(0, INNER), col, lane, out_col, part,
                    width, TOKENS, DIM, PAD, COLS, KIND, UPCAST, PACKED,
                )  # fmt: skip
        queries = operand(queries, KIND, UPCAST)
        if SPLIT:
            high = tl.floor(pairs * (1.0 / 2048.0))
            x = tl.dot(queries, high.to(queries.dtype)) * 2048.0
            x = tl.dot(queries, (pairs - high * 2048.0).to(queries.dtype), x)
        else:
            x = tl.dot(queries, pairs.to(queries.dtype))
        h = charge(mul_rn(x, scale + tl.zeros_like(x)), membrane, factor, v_reset, LEAK, DECAY_INPUT, HARD)
        s = h >= threshold
        membrane = reset(h, s, threshold, v_reset, HARD)
        valid = part < DIM
        out = spikes + step * out_width
        if OUT == 2:
            words = pack_rows(s & valid[None, :], ROWS, COLS)
            word = (head * DIM + begin) // 32 + tl.arange(0, COLS // 32)
            at = row[:, None] * out_width + word[None, :]
            tl.store(out + at, words, mask=(row < TOKENS)[:, None] & (word < (head + 1) * (DIM // 32))[None, :])
        else:
            at = row[:, None] * out_width + out_col[None, :]
            mask = (row < TOKENS)[:, None] & valid[None, :]
            tl.store(out + at, as_spikes(s, spikes.dtype.element_ty), mask=mask)


@triton.jit
def sdsa_hadamard_kernel(
    q, k, v, spikes, factor, scale, threshold, v_reset, batch, channels, width, out_width,
    T: tl.constexpr, TOKENS: tl.constexpr,
    LEAK: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr, PACKED: tl.constexpr, OUT: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Q * LIF(scale * sum over tokens of K * V) for COLS channels of one sample, all time steps."""
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    scale = tl.cast(scale, tl.float32)
    sample = tl.program_id(0)
    first = tl.program_id(1) * COLS
    col = first + tl.arange(0, COLS)
    valid = col < channels
    membrane = tl.zeros((COLS,), tl.float32)
    if HARD == 1:
        membrane += v_reset
    for t in range(T):
        step = (tl.cast(t, tl.int64) * batch + sample) * TOKENS
        count = tl.zeros((COLS,), tl.int32)
        for start in range(0, TOKENS, ROWS):
            token = start + tl.arange(0, ROWS)
            keys = _load(k + step * width, token, TOKENS, col, col, channels, False, width, PACKED, False)
            values = _load(v + step * width, token, TOKENS, col, col, channels, False, width, PACKED, False)
            count += tl.sum(((keys != 0) & (values != 0)).to(tl.int32), axis=0)
        x = mul_rn(count.to(tl.float32), scale + tl.zeros((COLS,), tl.float32))
        h = charge(x, membrane, factor, v_reset, LEAK, DECAY_INPUT, HARD)
        s = h >= threshold
        membrane = reset(h, s, threshold, v_reset, HARD)
        for start in range(0, TOKENS, ROWS):
            token = start + tl.arange(0, ROWS)
            queries = _load(q + step * width, token, TOKENS, col, col, channels, False, width, PACKED, False)
            open_ = (queries != 0) & s[None, :]
            if OUT == 2:
                store_spikes(spikes + step * out_width, open_, start, first, TOKENS, channels, ROWS, COLS)
            else:
                at = token[:, None] * out_width + col[None, :]
                mask = (token < TOKENS)[:, None] & valid[None, :]
                tl.store(spikes + step * out_width + at, as_spikes(open_, spikes.dtype.element_ty), mask=mask)
