"""Triton kernel of `estimate_blocks`: products of codes in int8, kept only as one decision a block."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import INTERPRET


@triton.jit
def estimate_kernel(
    q,
    k,
    q_scale,
    k_scale,
    mean,
    lse,
    log_tau,
    first,
    last,
    out,
    new,
    length,
    heads,
    groups,
    blocks,
    columns,
    scale,
    D: tl.constexpr,
    DP: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    SPAN: tl.constexpr,
    BOUND: tl.constexpr,
):
    """One block of queries of one head over SPAN blocks of keys at a time, from `first` to `last`."""
    if not INTERPRET:  # a traced program hands Python's float64 on
        scale = scale.to(tl.float32)
    at, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    whole = (batch * heads + head).to(tl.int64)
    group = (batch * groups + head // (heads // groups)).to(tl.int64)
    r, n, d = tl.arange(0, M), tl.arange(0, N), tl.arange(0, DP)
    query = at * BLOCK_Q + r
    live = (r < BLOCK_Q) & (query < new)
    row = whole * new + query
    codes = tl.load(q + row[:, None] * D + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0)
    step_q = tl.load(q_scale + row, mask=live, other=1.0)
    # A row that has no mass keeps nothing.
    low = tl.load(lse + row, mask=live, other=float("-inf"))
    low = tl.where(low == float("-inf"), float("inf"), low)
    limit = tl.load(log_tau + head)
    inverse, factor = 1.0 / step_q, step_q * scale
    begin = tl.load(first + at)
    end = tl.load(last + at)
    for it in range(BOUND if BOUND > 0 else (end - begin + SPAN - 1) // SPAN):  # a constant for the interpreter
        block = begin + it * SPAN + n // BLOCK_K
        key = block * BLOCK_K + n % BLOCK_K
        listed = (block < end) & (key < length)
        keys = tl.load(
            k + (group * length + key)[:, None] * D + d[None, :], mask=listed[:, None] & (d < D)[None, :], other=0
        )
        step_k = tl.load(k_scale + group * length + key, mask=listed, other=1.0)
        shift = tl.load(mean + whole * length + key, mask=listed, other=0.0) / step_k
        # Adding 1.5 x 2^23 and taking it away rounds to the nearest even whole number.
        rounded = (shift[None, :] * inverse[:, None] + 12582912.0) - 12582912.0
        product = tl.dot(codes, tl.trans(keys)).to(tl.float32)
        ratio = (product + rounded) * step_k[None, :] * factor[:, None] - low[:, None]
        seen = live[:, None] & listed[None, :] & (key[None, :] <= query[:, None] + (length - new))
        best = tl.max(tl.where(seen, ratio, float("-inf")), 0)
        each = tl.max(tl.reshape(best, (SPAN, BLOCK_K)), 1)
        b = begin + it * SPAN + tl.arange(0, SPAN)
        tl.store(out + (whole * blocks + at) * columns + b, (each > limit).to(tl.int8), mask=b < end)
