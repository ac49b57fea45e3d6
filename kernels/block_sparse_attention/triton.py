"""Triton kernel of `block_sparse_attention`, and what it shares with the backward pass."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import INTERPRET

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _rows(pid, part, batch, new, heads, BLOCK_Q: tl.constexpr, PACK: tl.constexpr, M: tl.constexpr):
    """Returns query, whether it exists, and row of `[B, H, S]` of every row of a tile: PACK heads x BLOCK_Q queries."""
    r = tl.arange(0, M)
    query = pid * BLOCK_Q + r % BLOCK_Q
    live = (r // BLOCK_Q < PACK) & (query < new)
    at = (batch * heads + part * PACK + r // BLOCK_Q).to(tl.int64) * new + query
    return query, live, at


@triton.jit
def _table(part, batch, heads, groups, PACK: tl.constexpr, MODE: tl.constexpr):
    """Returns the row of heads in the tables: one for all (0), one a key head (1), one a query head (2)."""
    if MODE == 0:
        return batch
    elif MODE == 1:
        return batch * groups + part * PACK // (heads // groups)
    else:
        return batch * heads + part


@triton.jit
def _block(idx, it, count, PARTS: tl.constexpr):
    """Returns the number of the listed block of a round, as a scalar; 0 behind the list."""
    return tl.load(idx + it // PARTS, mask=it // PARTS < count, other=0)


@triton.jit
def _keys(idx, it, count, length, BLOCK_K: tl.constexpr, TILE: tl.constexpr, MASK: tl.constexpr):
    """Returns key positions of a tile, and which exist: part of a listed block, or several smaller blocks.

    The number of a single block is loaded as a scalar: a row of equal numbers would go through shared memory for the
    mask, and with products of 64 rows and more Triton 3.6 then gave wrong results on Hopper.
    """
    if TILE <= BLOCK_K:
        return _keys_of(_block(idx, it, count, BLOCK_K // TILE), it, count, length, BLOCK_K, TILE, MASK)
    else:
        n = tl.arange(0, TILE)
        slot = it * (TILE // BLOCK_K) + n // BLOCK_K
        listed = slot < count
        key = tl.load(idx + slot, mask=listed, other=0) * BLOCK_K + n % BLOCK_K
        if MASK:
            listed = listed & (key < length)
        return key, listed


@triton.jit
def _keys_of(block, it, count, length, BLOCK_K: tl.constexpr, TILE: tl.constexpr, MASK: tl.constexpr):
    """Returns the key positions of the round's part of one block, and which exist."""
    n = tl.arange(0, TILE)
    key = block * BLOCK_K + it % (BLOCK_K // TILE) * TILE + n
    listed = (n >= 0) & (it // (BLOCK_K // TILE) < count)
    if MASK:
        listed = listed & (key < length)
    return key, listed


@triton.jit
def _rounds(count, BLOCK_K: tl.constexpr, TILE: tl.constexpr):
    """Returns the tiles of a list of `count` blocks."""
    if TILE <= BLOCK_K:
        return count * (BLOCK_K // TILE)
    else:
        return (count + (TILE // BLOCK_K) - 1) // (TILE // BLOCK_K)


@triton.jit
def _scores(
    q,
    k,
    bias,
    key,
    listed,
    place,
    scale,
    D: tl.constexpr,
    DP: tl.constexpr,
    CAUSAL: tl.constexpr,
    BIAS: tl.constexpr,
    MASK: tl.constexpr,
    TAIL: tl.constexpr,
    PRECISION: tl.constexpr,
    RAW: tl.constexpr = False,
):
    """Returns scores in units of log2, minus infinity where a pair does not count, and the keys `[TILE, DP]`.

    RAW leaves out the factor, for whoever multiplies and subtracts in one operation.
    """
    d = tl.arange(0, DP)
    if MASK or TAIL or DP != D:
        keys = tl.load(k + key.to(tl.int64)[:, None] * D + d[None, :], mask=listed[:, None] & (d < D)[None, :], other=0)
    else:
        keys = tl.load(k + key.to(tl.int64)[:, None] * D + d[None, :])
    s = tl.dot(q, tl.trans(keys), input_precision=PRECISION)
    if not RAW:
        s = s * (scale * LOG2E)
    if BIAS:
        s += tl.load(bias + key, mask=listed, other=0.0).to(tl.float32)[None, :] * LOG2E
    if MASK and CAUSAL:
        s = tl.where(listed[None, :] & (key[None, :] <= place[:, None]), s, float("-inf"))
    elif MASK or TAIL:
        s = tl.where(listed[None, :], s, float("-inf"))
    return s, keys


@triton.jit
def _forward_list(
    acc,
    m,
    mass,
    q,
    k,
    v,
    bias,
    idx,
    num,
    length,
    place,
    scale,
    BOUND: tl.constexpr,
    D: tl.constexpr,
    DP: tl.constexpr,
    DV: tl.constexpr,
    DVP: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TILE: tl.constexpr,
    CAUSAL: tl.constexpr,
    BIAS: tl.constexpr,
    MASK: tl.constexpr,
    PRECISION: tl.constexpr,
    RAW: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Attends to the blocks of one list.

    RAW: scores get their factor as the maximum is subtracted, one operation a pair; for a factor above 0 and no bias.
    AHEAD: the number of the next block is loaded a round before it is needed.
    The interpreter cannot loop to a loaded number, and makes tensors of what is assigned: BOUND is a constant there.
    """
    count = tl.load(num)
    factor = scale * LOG2E
    if AHEAD:
        upcoming = _block(idx, 0, count, BLOCK_K // TILE)
    e = tl.arange(0, DVP)
    TAIL: tl.constexpr = TILE > BLOCK_K
    # The interpreter cannot take a bound from a function, whose results are tensors.
    for it in range(BOUND if BOUND > 0 else _rounds(count, BLOCK_K, TILE)):
        if AHEAD:
            key, listed = _keys_of(upcoming, it, count, length, BLOCK_K, TILE, MASK)
            upcoming = _block(idx, it + 1, count, BLOCK_K // TILE)
        else:
            key, listed = _keys(idx, it, count, length, BLOCK_K, TILE, MASK)
        if BOUND > 0:
            s, _ = _scores(q, k, bias, key, listed, place, scale, D, DP, CAUSAL, BIAS, MASK, True, PRECISION, RAW)
        else:
            s, _ = _scores(q, k, bias, key, listed, place, scale, D, DP, CAUSAL, BIAS, MASK, TAIL, PRECISION, RAW)
        highest = tl.max(s, 1)
        higher = tl.maximum(m, highest * factor if RAW else highest)
        top = tl.where(higher == float("-inf"), 0.0, higher)
        p = tl.exp2(s * factor - top[:, None]) if RAW else tl.exp2(s - top[:, None])
        shrink = tl.exp2(m - top)
        mass = mass * shrink + tl.sum(p, 1)
        values = tl.load(
            v + key.to(tl.int64)[:, None] * DV + e[None, :], mask=listed[:, None] & (e < DV)[None, :], other=0
        )
        acc = acc * shrink[:, None] + tl.dot(p.to(values.dtype), values, input_precision=PRECISION)
        m = higher
    return acc, m, mass


@triton.jit
def forward_kernel(
    q,
    k,
    v,
    num,
    idx,
    full_num,
    full_idx,
    bias,
    out,
    lse,
    new,
    length,
    heads,
    groups,
    blocks,
    scale,
    width,
    full_width,
    BOUND: tl.constexpr,
    FULL_BOUND: tl.constexpr,
    D: tl.constexpr,
    DP: tl.constexpr,
    DV: tl.constexpr,
    DVP: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PACK: tl.constexpr,
    M: tl.constexpr,
    TILE: tl.constexpr,
    MODE: tl.constexpr,
    CAUSAL: tl.constexpr,
    BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    RAW: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """One block of queries of PACK heads of one group; the longest lists of a causal index come first."""
    if not INTERPRET:  # a traced program hands Python's float64 on
        scale = scale.to(tl.float32)
    at, part, batch = blocks - 1 - tl.program_id(0), tl.program_id(1), tl.program_id(2)
    group = batch * groups + part * PACK // (heads // groups)
    query, live, row = _rows(at, part, batch, new, heads, BLOCK_Q, PACK, M)
    table = (_table(part, batch, heads, groups, PACK, MODE) * blocks + at).to(tl.int64)
    d, e = tl.arange(0, DP), tl.arange(0, DVP)
    queries = tl.load(q + row[:, None] * D + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0)
    place = query + (length - new)
    k += group.to(tl.int64) * length * D
    v += group.to(tl.int64) * length * DV
    bias += group.to(tl.int64) * length
    acc = tl.zeros((M, DVP), tl.float32)
    m = tl.full((M,), float("-inf"), tl.float32)
    mass = tl.zeros((M,), tl.float32)
    acc, m, mass = _forward_list(
        acc,
        m,
        mass,
        queries,
        k,
        v,
        bias,
        full_idx + table * full_width,
        full_num + table,
        length,
        place,
        scale,
        FULL_BOUND,
        D,
        DP,
        DV,
        DVP,
        BLOCK_K,
        TILE,
        CAUSAL,
        BIAS,
        False,
        PRECISION,
        RAW,
        AHEAD,
    )
    acc, m, mass = _forward_list(
        acc,
        m,
        mass,
        queries,
        k,
        v,
        bias,
        idx + table * width,
        num + table,
        length,
        place,
        scale,
        BOUND,
        D,
        DP,
        DV,
        DVP,
        BLOCK_K,
        TILE,
        CAUSAL,
        BIAS,
        True,
        PRECISION,
        RAW,
        AHEAD,
    )
    some = mass > 0
    result = acc / tl.where(some, mass, 1.0)[:, None]
    total = tl.where(some, (m + tl.log2(tl.where(some, mass, 1.0))) / LOG2E, float("-inf"))
    tl.store(
        out + row[:, None] * DV + e[None, :], result.to(out.dtype.element_ty), mask=live[:, None] & (e < DV)[None, :]
    )
    tl.store(lse + row, total, mask=live)
