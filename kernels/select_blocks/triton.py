"""Triton kernel of `select_blocks`: products with block means on tensor cores, the best blocks kept in registers."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import INTERPRET


@triton.jit
def _scores(x, means, base, n, d, blocks, scale, D: tl.constexpr, PRECISE: tl.constexpr):
    """Products of rows with the means of the blocks `n`, in units of log 2."""
    keys = tl.load(means + (base + n)[:, None] * D + d[None, :], mask=(n < blocks)[:, None] & (d < D)[None, :], other=0)
    return tl.dot(x, tl.trans(keys), input_precision="ieee" if PRECISE else "tf32") * scale


@triton.jit
def select_kernel(
    q,
    means,
    num,
    idx,
    new,
    heads,
    groups,
    blocks,
    offset,
    scale,
    D: tl.constexpr,
    DP: tl.constexpr,
    BLOCK: tl.constexpr,
    COUNT: tl.constexpr,
    KP: tl.constexpr,
    QUERIES: tl.constexpr,
    R: tl.constexpr,
    RP: tl.constexpr,
    N: tl.constexpr,
    PRECISE: tl.constexpr,
    BOUND: tl.constexpr,
    LAST: tl.constexpr,
):
    """QUERIES queries of one group; `scale` is in units of log 2. Rows of the product: a query's heads in a row."""
    if not INTERPRET:  # a traced program hands Python's float64 on
        scale = scale.to(tl.float32)
    at, group, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    r, d = tl.arange(0, QUERIES * RP), tl.arange(0, DP)
    query, head = at * QUERIES + r // RP, group * R + r % RP
    live = (query < new) & (r % RP < R)
    row = (batch * heads + head).to(tl.int64) * new + query
    x = tl.load(q + row[:, None] * D + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0)
    complete = (offset + query + 1) // BLOCK
    base = (batch * groups + group).to(tl.int64) * blocks
    last = offset + tl.minimum(at * QUERIES + QUERIES, new)  # the place behind the last query
    tiles = tl.cdiv(last // BLOCK, N)

    high = tl.full([QUERIES * RP], float("-inf"), tl.float32)
    mass = tl.zeros([QUERIES * RP], tl.float32)
    for it in range(BOUND if BOUND > 0 else tiles):  # a constant for the interpreter
        n = it * N + tl.arange(0, N)
        s = _scores(x, means, base, n, d, blocks, scale, D, PRECISE)
        s = tl.where((n[None, :] < complete[:, None]) & (n < blocks)[None, :], s, float("-inf"))
        higher = tl.maximum(high, tl.max(s, 1))
        safe = tl.where(higher == float("-inf"), 0.0, higher)
        mass = mass * tl.exp2(high - safe) + tl.sum(tl.exp2(s - safe[:, None]), 1)
        high = higher
    lse = tl.where(high == float("-inf"), 0.0, high + tl.log2(tl.where(mass > 0, mass, 1.0)))

    here = at * QUERIES + tl.arange(0, QUERIES)
    own = (offset + here) // BLOCK
    best = tl.full([QUERIES, KP], -1, tl.int64)
    for it in range(BOUND if BOUND > 0 else tiles):
        n = it * N + tl.arange(0, N)
        s = _scores(x, means, base, n, d, blocks, scale, D, PRECISE)
        w = tl.where(live[:, None], tl.exp2(s - lse[:, None]), 0.0)
        worth = tl.sum(tl.reshape(w, [QUERIES, RP, N]), 1)
        bits = worth.to(tl.int32, bitcast=True).to(tl.int64)  # of numbers >= 0 in the order of the numbers
        key = (bits << 32) | (LAST - n).to(tl.int64)[None, :]
        key = tl.where(n[None, :] < own[:, None], key, -1)
        both = tl.join(best, tl.topk(key, KP))
        best = tl.topk(tl.reshape(both, [QUERIES, 2 * KP]), KP)
    c = tl.arange(0, KP)[None, :]
    found = tl.where((best >= 0) & (c < COUNT - 1), (LAST - (best & LAST)).to(tl.int32), LAST)
    found = tl.sort(tl.where(c == COUNT - 1, own[:, None], found))
    listed = found < LAST
    out = (batch * groups + group).to(tl.int64) * new + here
    tl.store(num + out, tl.sum(listed.to(tl.int32), 1), mask=here < new)
    tl.store(idx + out[:, None] * COUNT + c, tl.where(listed, found, 0), mask=(here < new)[:, None] & (c < COUNT))
