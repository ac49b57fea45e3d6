"""Triton kernels of `sdsa_lif`: attention among spikes with its neuron, read token by token as it lies in memory."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import (
    as_spikes,
    await_inputs,
    charge,
    fresh_membrane,
    mul_rn,
    operand,
    pack_rows,
    reset,
)


@triton.jit
def _load(x, row, rows, col, inside, width, PACKED: tl.constexpr, WORDS: tl.constexpr):
    """A tile of spikes at rows `row` and columns `col`, as 0 or 1, where `row` < `rows` and the columns are `inside`.

    WORDS: packed columns begin and end with a word, so that every word is read once.
    """
    mask = (row < rows)[:, None] & inside[None, :]
    ROWS: tl.constexpr = row.shape[0]
    COLS: tl.constexpr = col.shape[0]
    if PACKED and WORDS and COLS % 32 == 0:
        word = tl.min(col, axis=0) // 32 + tl.arange(0, COLS // 32)
        last = tl.max(tl.where(inside, col, 0), axis=0) // 32
        packed = tl.load(
            x + row[:, None] * width + word[None, :], mask=(row < rows)[:, None] & (word <= last)[None, :], other=0
        )
        return tl.reshape((packed[:, :, None] >> tl.arange(0, 32)[None, None, :]) & 1, (ROWS, COLS))
    elif PACKED:
        word = tl.load(x + row[:, None] * width + (col // 32)[None, :], mask=mask, other=0)
        return (word >> (col % 32)[None, :]) & 1
    else:
        return tl.load(x + row[:, None] * width + col[None, :], mask=mask, other=0)


@triton.jit
def _columns(head, begin, DIM: tl.constexpr, UNIT: tl.constexpr, LINE: tl.constexpr, SIZE: tl.constexpr):
    """SIZE columns of a head from its column `begin` on: places, which may be read, which are the head's, whole units.

    UNIT > 0: whole units of UNIT columns are read, so that every read is aligned. They may begin before the head, hold
    columns of its neighbours, and end with the line of LINE units at the latest. Units that are all the head's own are
    written whole.
    """
    lane = tl.arange(0, SIZE)
    if UNIT:
        unit = head * DIM // UNIT + begin // UNIT + lane // UNIT
        col = (head * DIM // UNIT + begin // UNIT) * UNIT + lane
        mine = (col >= head * DIM) & (col < (head + 1) * DIM)
        whole = (unit * UNIT >= head * DIM) & (unit * UNIT + UNIT <= (head + 1) * DIM)
        return col, unit < LINE, mine, whole
    else:
        if SIZE == DIM:
            mine = lane >= 0
        else:
            mine = begin + lane < DIM
        return head * DIM + begin + lane, mine, mine, mine


@triton.jit
def _outer(
    k,
    v,
    pairs,
    token,
    rows,
    main,
    rest,
    head,
    begin,
    width,
    DIM: tl.constexpr,
    LINE: tl.constexpr,
    REST: tl.constexpr,
    UNIT: tl.constexpr,
    COLS: tl.constexpr,
    GROUP: tl.constexpr,
    KIND: tl.constexpr,
    UPCAST: tl.constexpr,
    PACKED: tl.constexpr,
    WORDS: tl.constexpr,
):
    """Adds the tokens' K^T V: for each part of the output the columns `main` by it, and with a REST `rest` by it."""
    keys = _load(k, token, rows, main[0], main[1], width, PACKED, WORDS)
    if UNIT:
        keys = tl.where(main[2][None, :], keys, 0)
    keys = tl.trans(operand(keys, KIND, UPCAST))
    if REST:
        more = tl.trans(operand(_load(k, token, rows, rest[0], rest[1], width, PACKED, WORDS), KIND, UPCAST))
    sums = ()
    for i in tl.static_range(GROUP):
        out = _columns(head, begin + i * COLS, DIM, UNIT, LINE, COLS)
        values = operand(_load(v, token, rows, out[0], out[1], width, PACKED, WORDS), KIND, UPCAST)
        sums = sums + (tl.dot(keys, values, pairs[i]),)
    if REST:
        for i in tl.static_range(GROUP):
            out = _columns(head, begin + i * COLS, DIM, UNIT, LINE, COLS)
            values = operand(_load(v, token, rows, out[0], out[1], width, PACKED, WORDS), KIND, UPCAST)
            sums = sums + (tl.dot(more, values, pairs[GROUP + i]),)
    return sums


@triton.jit
def _product(queries, pairs, x, SPLIT: tl.constexpr):
    """Adds Q (K^T V); SPLIT cuts counts that float16 does not hold into two digits."""
    if SPLIT:
        high = tl.floor(pairs * (1.0 / 2048.0))
        x += tl.dot(queries, high.to(queries.dtype)) * 2048.0
        return tl.dot(queries, (pairs - high * 2048.0).to(queries.dtype), x)
    else:
        return tl.dot(queries, pairs.to(queries.dtype), x)


@triton.jit
def _fire(
    x,
    membrane,
    spikes,
    row,
    rows,
    columns,
    width,
    factor,
    scale,
    threshold,
    v_reset,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    OUT: tl.constexpr,
    UNIT: tl.constexpr,
):
    """The neuron behind the product, and its spikes into memory; returns the membrane."""
    col = columns[0]
    mine = columns[2]
    h = charge(mul_rn(x, scale + tl.zeros_like(x)), membrane, factor, v_reset, LEAK, DECAY_INPUT, HARD)
    s = h >= threshold
    if OUT == 2:
        words = pack_rows(s & mine[None, :], row.shape[0], col.shape[0])
        word = tl.arange(0, col.shape[0] // 32)
        at = row[:, None] * width + (tl.min(col, axis=0) // 32 + word)[None, :]
        count = tl.sum(mine.to(tl.int32), axis=0) // 32
        tl.store(spikes + at, words, mask=(row < rows)[:, None] & (word < count)[None, :])
    else:
        at = spikes + row[:, None] * width + col[None, :]
        live = (row < rows)[:, None]
        numbers = as_spikes(s, spikes.dtype.element_ty)
        tl.store(at, numbers, mask=live & columns[3][None, :])
        if UNIT:
            # One column at a time, where a unit is shared with a neighbour.
            tl.store(at, numbers, mask=live & (mine & ~columns[3])[None, :])
    return reset(h, s, threshold, v_reset, HARD)


@writes("spikes")
@triton.jit
def sdsa_qkv_kernel(
    q,
    k,
    v,
    spikes,
    factor,
    scale,
    threshold,
    v_reset,
    batch,
    T: tl.constexpr,
    Q_AT: tl.constexpr,
    K_AT: tl.constexpr,
    V_AT: tl.constexpr,
    TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    PACKED: tl.constexpr,
    OUT: tl.constexpr,
    BRAIN: tl.constexpr,
    UPCAST: tl.constexpr,
    SPLIT: tl.constexpr,
    UNIT: tl.constexpr,
    MAIN: tl.constexpr,
    REST: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    GROUP: tl.constexpr,
    PARTS: tl.constexpr,
    INNER: tl.constexpr,
):
    """LIF(scale * Q (K^T V)) for GROUP parts of COLS channels of one head of one sample, ROWS tokens and all steps.

    Every number is a count: K^T V is at most the number of tokens, which bfloat16 (BRAIN) holds exactly up to 256 and
    float16 up to 2048 (SPLIT cuts larger counts into two digits), and float32 adds the products exactly below 2^24.

    Q_AT, K_AT, V_AT: first channel of each, where all are one tensor of WIDTH channels.

    Q and K are read MAIN columns wide, or MAIN and REST: 80 channels are 64 and 16, not 128.
    """
    await_inputs()
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    scale = tl.cast(scale, tl.float32)
    KIND: tl.constexpr = tl.bfloat16 if BRAIN else tl.float16
    LINE: tl.constexpr = HEADS * DIM // UNIT if UNIT else 0
    WORDS: tl.constexpr = DIM % 32 == 0
    # The programs of a head run side by side: they share its keys and queries in the cache.
    sample = tl.program_id(0) // (HEADS * PARTS)
    head = tl.program_id(0) // PARTS % HEADS
    begin = tl.program_id(0) % PARTS * COLS * GROUP
    main = _columns(head, 0, DIM, UNIT, LINE, MAIN)
    rest = main
    if REST:
        rest = _columns(head, MAIN, DIM, 0, 0, REST)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    membranes = ()
    for _ in tl.static_range(GROUP):
        membranes = membranes + (fresh_membrane(v_reset, HARD, ROWS, COLS),)
    for t in range(T):
        step = (tl.cast(t, tl.int64) * batch + sample) * TOKENS
        queries = operand(
            _load(q + Q_AT + step * WIDTH, row, TOKENS, main[0], main[1], WIDTH, PACKED, WORDS), KIND, UPCAST
        )
        if REST:
            more = operand(
                _load(q + Q_AT + step * WIDTH, row, TOKENS, rest[0], rest[1], WIDTH, PACKED, WORDS), KIND, UPCAST
            )
        pairs = ()
        for _ in tl.static_range(GROUP):
            pairs = pairs + (tl.zeros((MAIN, COLS), tl.float32),)
        if REST:
            for _ in tl.static_range(GROUP):
                pairs = pairs + (tl.zeros((REST, COLS), tl.float32),)
        if TOKENS <= INNER:
            # Without a loop of its own, the next step's loads are in flight during this step's products.
            pairs = _outer(
                k + K_AT + step * WIDTH,
                v + V_AT + step * WIDTH,
                pairs,
                tl.arange(0, INNER),
                TOKENS,
                main,
                rest,
                head,
                begin,
                WIDTH,
                DIM,
                LINE,
                REST,
                UNIT,
                COLS,
                GROUP,
                KIND,
                UPCAST,
                PACKED,
                WORDS,
            )
        else:
            for start in range(0, TOKENS, INNER):
                pairs = _outer(
                    k + K_AT + step * WIDTH,
                    v + V_AT + step * WIDTH,
                    pairs,
                    start + tl.arange(0, INNER),
                    TOKENS,
                    main,
                    rest,
                    head,
                    begin,
                    WIDTH,
                    DIM,
                    LINE,
                    REST,
                    UNIT,
                    COLS,
                    GROUP,
                    KIND,
                    UPCAST,
                    PACKED,
                    WORDS,
                )
        after = ()
        for i in tl.static_range(GROUP):
            x = _product(queries, pairs[i], tl.zeros((ROWS, COLS), tl.float32), SPLIT)
            if REST:
                x = _product(more, pairs[GROUP + i], x, SPLIT)
            out = _columns(head, begin + i * COLS, DIM, UNIT, LINE, COLS)
            after = after + (
                _fire(
                    x,
                    membranes[i],
                    spikes + step * OUT_WIDTH,
                    row,
                    TOKENS,
                    out,
                    OUT_WIDTH,
                    factor,
                    scale,
                    threshold,
                    v_reset,
                    LEAK,
                    DECAY_INPUT,
                    HARD,
                    OUT,
                    UNIT,
                ),
            )
        membranes = after
