"""Triton kernel of `search_blocks`: all rounds of a tree search for one block of queries, in registers."""

import triton
import triton.language as tl

EMPTY = tl.constexpr(-32000.0)  # the worth of an empty half
LOWEST = tl.constexpr(-(2**63) + 1)
TOP = tl.constexpr(2**63 - 1)
LOW = tl.constexpr(2**32 - 1)


@triton.jit
def _worths(
    rows,
    k,
    start,
    length,
    D: tl.constexpr,
    DP: tl.constexpr,
    BLOCK_K: tl.constexpr,
    N: tl.constexpr,
    WP: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The maximum of products of `rows`, `[DP, M]`, with the keys of each of WP blocks, N keys at a time."""
    n: tl.constexpr = N // BLOCK_K
    tiles: tl.constexpr = WP // n
    tile, d = tl.arange(0, tiles)[:, None], tl.arange(0, DP)
    blocks = tl.reshape(start, [tiles, n])
    found = tl.zeros([tiles, n], tl.float32)
    for t in range(tiles):
        here = tl.sum(tl.where(tile == t, blocks, 0), 0)
        key = tl.reshape(here[:, None] * BLOCK_K + tl.arange(0, BLOCK_K)[None, :], [N])
        key = tl.minimum(key, length - 1)  # the last key again, in the place of those that do not exist
        at = k + key.to(tl.int64)[:, None] * D + d[None, :]
        if DP == D:
            keys = tl.load(at)
        else:
            keys = tl.load(at, mask=(d < D)[None, :], other=0)
        best = tl.max(tl.dot(keys, rows, input_precision=PRECISION), 1)
        found = tl.where(tile == t, tl.max(tl.reshape(best, [n, BLOCK_K]), 1)[None, :], found)
    return tl.reshape(found, [WP])


@triton.jit
def _kept(start, size, worth, low, W: tl.constexpr, WP: tl.constexpr):
    """The best W of 2 WP halves, in their order: start, size and worth. Sizes are `low` or `low` + 1."""
    i = tl.arange(0, 2 * WP)
    worth = tl.where(worth == 0, 0.0, worth)  # no negative zero
    bits = tl.where(size == 0, EMPTY, worth).to(tl.int32, bitcast=True)
    order = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
    key = tl.where(i // 2 < W, (order << 32) | (0x7FFFFFFF - i).to(tl.int64), LOWEST)
    best = tl.topk(key, WP)
    least = tl.sum(tl.where(tl.arange(0, WP) == W - 1, best, 0), 0)
    payload = worth.to(tl.int32, bitcast=True).to(tl.int64) & LOW
    packed = (start.to(tl.int64) << 33) | ((size - low).to(tl.int64) << 32) | payload
    packed = TOP - tl.topk(tl.where(key >= least, TOP - packed, -1), WP)
    live = tl.arange(0, WP) < W
    start = tl.where(live, (packed >> 33).to(tl.int32), 0)
    size = tl.where(live, ((packed >> 32) & 1).to(tl.int32) + low, 0)
    return start, size, (packed & LOW).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _listed(num, idx, row, slots, a, has_a, b, has_b, SLOTS: tl.constexpr):
    """Stores a list of two parts, zeros behind it, and its count."""
    first, second = has_a.to(tl.int32), has_b.to(tl.int32)
    before = tl.sum(first, 0)
    count = before + tl.sum(second, 0)
    idx += row * slots
    tl.store(idx + tl.cumsum(first, 0) - 1, a, mask=has_a)
    tl.store(idx + before + tl.cumsum(second, 0) - 1, b, mask=has_b)
    slot = tl.arange(0, SLOTS)
    tl.store(idx + slot, tl.zeros([SLOTS], tl.int32), mask=(slot >= count) & (slot < slots))
    tl.store(num + row, count)


@triton.jit
def search_kernel(
    q,
    k,
    num,
    idx,
    full_num,
    full_idx,
    new,
    length,
    heads,
    groups,
    rows_of_blocks,
    slots,
    COUNT: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WINDOW: tl.constexpr,
    NW: tl.constexpr,
    W: tl.constexpr,
    WP: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
    DP: tl.constexpr,
    SLOTS: tl.constexpr,
    ONE_LIST: tl.constexpr,
    PRECISION: tl.constexpr,
    BOUND: tl.constexpr,
):
    """One block of queries of one head; the longest searches come first. ONE_LIST: full blocks are listed as partial.

    Bounds of chunks are rounded in float64, as the definition rounds them.
    """
    at, head, batch = rows_of_blocks - 1 - tl.program_id(0), tl.program_id(1), tl.program_id(2)
    of_head = (batch * heads + head).to(tl.int64)
    end = tl.minimum(at * BLOCK_Q + BLOCK_Q, new)
    many = (end - at * BLOCK_Q) > 1
    # Every second query, the first if there is one alone; the last again in the place of those that do not exist.
    r, d = tl.arange(0, M), tl.arange(0, DP)
    last = at * BLOCK_Q + tl.maximum((end - at * BLOCK_Q) // 2 - 1, 0) * 2 + many.to(tl.int32)
    query = tl.minimum(at * BLOCK_Q + 2 * r + many.to(tl.int32), last)
    spot = q + (of_head * new + query)[None, :] * D + d[:, None]
    rows = tl.load(spot, mask=(d < D)[:, None], other=0)
    k += (batch * groups + head // (heads // groups)).to(tl.int64) * length * D

    w = tl.arange(0, WP)
    candidates = tl.maximum(end + length - new - WINDOW, 0)
    blocks = tl.cdiv(candidates, BLOCK_K)
    doublings = tl.full([32], W, tl.int64) << tl.arange(0, 32).to(tl.int64)
    turns = tl.where(candidates > COUNT, tl.sum((doublings < blocks).to(tl.int32), 0), 0)
    share = blocks.to(tl.float64) / tl.full([WP], W, tl.float64)
    start = (share * w.to(tl.float64)).to(tl.int32)
    size = (share * (w + 1).to(tl.float64)).to(tl.int32) - start
    start, size = tl.where(w < W, start, 0), tl.where(w < W, size, 0)
    worth = _worths(rows, k, start, length, D, DP, BLOCK_K, N, WP, PRECISION)
    for turn in range(BOUND if BOUND > 0 else turns):  # a constant for the interpreter
        half = size // 2
        right = start + half
        other = _worths(rows, k, right, length, D, DP, BLOCK_K, N, WP, PRECISION)
        starts = tl.reshape(tl.join(start, right), [2 * WP])
        sizes = tl.reshape(tl.join(half, size - half), [2 * WP])
        low = tl.min(tl.where(w < W, half, 0x7FFFFFFF), 0)
        worths = tl.reshape(tl.join(worth, other), [2 * WP])
        start_, size_, worth_ = _kept(starts, sizes, worths, low, W, WP)
        start, size = tl.where(turn < turns, start_, start), tl.where(turn < turns, size_, size)
        worth = tl.where(turn < turns, worth_, worth)

    few = candidates <= COUNT
    found = tl.where(few, w, start)
    live = (w < W) & ((candidates > COUNT) | (w < blocks))
    # An empty half that stayed begins where another chunk does.
    again = (found[:, None] == found[None, :]) & (w[None, :] < w[:, None]) & (w < W)[None, :]
    live = live & (few | (tl.max(again.to(tl.int32), 1) == 0))
    window = candidates // BLOCK_K
    behind = tl.cdiv(candidates + WINDOW, BLOCK_K)
    live = live & ((found < window) | (found >= behind))
    late = window + tl.arange(0, NW)
    first, final = length - new + at * BLOCK_Q, length - new + end - 1  # places of the first and the last query
    near = (late < behind) & (late * BLOCK_K <= final)
    row = of_head * rows_of_blocks + at
    some = live & (found * BLOCK_K <= final)
    if ONE_LIST:
        _listed(num, idx, row, slots, found, some, late, near, SLOTS)
        tl.store(full_num + row, 0)
    else:
        reach = tl.minimum(length, first + 1)
        whole, whole_late = (found + 1) * BLOCK_K <= reach, (late + 1) * BLOCK_K <= reach
        _listed(full_num, full_idx, row, slots, found, live & whole, late, near & whole_late, SLOTS)
        _listed(num, idx, row, slots, found, some & (whole == 0), late, near & (whole_late == 0), SLOTS)
