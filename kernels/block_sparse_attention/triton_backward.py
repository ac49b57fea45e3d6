"""Triton kernels of the backward pass of `block_sparse_attention`: by rows, and by key blocks over the transpose."""

import triton
import triton.language as tl

from neurokit.kernels.block_sparse_attention.triton import LOG2E, _keys, _rounds, _rows, _scores, _table
from neurokit.kernels.common.triton import INTERPRET


@triton.jit
def _slope(s, grad, values, low, delta, PRECISION: tl.constexpr):
    """Returns weights and gradients of scores of a tile; `low` is the log-sum-exp in units of log2."""
    p = tl.exp2(s - low[:, None])
    return p, p * (tl.dot(grad, tl.trans(values), input_precision=PRECISION) - delta[:, None])


@triton.jit
def _dq_list(
    dq,
    q,
    grad,
    k,
    v,
    bias,
    idx,
    num,
    low,
    delta,
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
    PRECISION: tl.constexpr,
):
    """Sums the gradient of the queries over the blocks of one list."""
    count = tl.load(num)
    e = tl.arange(0, DVP)
    for it in range(BOUND if BOUND > 0 else _rounds(count, BLOCK_K, TILE)):
        key, listed = _keys(idx, it, count, length, BLOCK_K, TILE, True)
        s, keys = _scores(q, k, bias, key, listed, place, scale, D, DP, CAUSAL, BIAS, True, True, PRECISION)
        values = tl.load(
            v + key.to(tl.int64)[:, None] * DV + e[None, :], mask=listed[:, None] & (e < DV)[None, :], other=0
        )
        _, ds = _slope(s, grad, values, low, delta, PRECISION)
        dq += tl.dot(ds.to(keys.dtype), keys, input_precision=PRECISION)
    return dq


@triton.jit
def dq_kernel(
    q,
    k,
    v,
    num,
    idx,
    full_num,
    full_idx,
    bias,
    grad,
    lse,
    delta,
    dq,
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
):
    """The gradient of one block of queries of PACK heads."""
    if not INTERPRET:  # a traced program hands Python's float64 on
        scale = scale.to(tl.float32)
    at, part, batch = blocks - 1 - tl.program_id(0), tl.program_id(1), tl.program_id(2)
    group = batch * groups + part * PACK // (heads // groups)
    query, live, row = _rows(at, part, batch, new, heads, BLOCK_Q, PACK, M)
    table = (_table(part, batch, heads, groups, PACK, MODE) * blocks + at).to(tl.int64)
    d, e = tl.arange(0, DP), tl.arange(0, DVP)
    queries = tl.load(q + row[:, None] * D + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0)
    slopes = tl.load(grad + row[:, None] * DV + e[None, :], mask=live[:, None] & (e < DV)[None, :], other=0)
    # A row that sees nothing has weights of 0: its log-sum-exp is taken as plus infinity.
    low = tl.load(lse + row, mask=live, other=float("-inf"))
    low = tl.where(low == float("-inf"), float("inf"), low * LOG2E)
    part_delta = tl.load(delta + row, mask=live, other=0.0)
    place = query + (length - new)
    k += group.to(tl.int64) * length * D
    v += group.to(tl.int64) * length * DV
    bias += group.to(tl.int64) * length
    total = tl.zeros((M, DP), tl.float32)
    total = _dq_list(
        total,
        queries,
        slopes,
        k,
        v,
        bias,
        full_idx + table * full_width,
        full_num + table,
        low,
        part_delta,
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
        PRECISION,
    )
    total = _dq_list(
        total,
        queries,
        slopes,
        k,
        v,
        bias,
        idx + table * width,
        num + table,
        low,
        part_delta,
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
        PRECISION,
    )
    tl.store(
        dq + row[:, None] * D + d[None, :],
        (total * scale).to(dq.dtype.element_ty),
        mask=live[:, None] & (d < D)[None, :],
    )


@triton.jit
def dkv_kernel(
    q,
    k,
    v,
    num,
    idx,
    bias,
    grad,
    lse,
    delta,
    dk,
    dv,
    dbias,
    new,
    length,
    heads,
    groups,
    columns,
    scale,
    width,
    BOUND: tl.constexpr,
    SHARES: tl.constexpr,
    D: tl.constexpr,
    DP: tl.constexpr,
    DV: tl.constexpr,
    DVP: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PACK: tl.constexpr,
    M: tl.constexpr,
    MODE: tl.constexpr,
    CAUSAL: tl.constexpr,
    BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradients of one key block: over the SHARES parts of its group, and the blocks of queries that list it."""
    if not INTERPRET:  # a traced program hands Python's float64 on
        scale = scale.to(tl.float32)
    at, group, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    whole = (batch * groups + group).to(tl.int64)
    key = at * BLOCK_K + tl.arange(0, BLOCK_K)
    exists = key < length
    d, e = tl.arange(0, DP), tl.arange(0, DVP)
    at_k = (whole * length + key)[:, None] * D + d[None, :]
    at_v = (whole * length + key)[:, None] * DV + e[None, :]
    keys = tl.load(k + at_k, mask=exists[:, None] & (d < D)[None, :], other=0)
    values = tl.load(v + at_v, mask=exists[:, None] & (e < DV)[None, :], other=0)
    total_k = tl.zeros((BLOCK_K, DP), tl.float32)
    total_v = tl.zeros((BLOCK_K, DVP), tl.float32)
    total_b = tl.zeros((BLOCK_K,), tl.float32)
    for share in range(SHARES):
        part = group * SHARES + share
        table = (_table(part, batch, heads, groups, PACK, MODE) * columns + at).to(tl.int64)
        count = tl.load(num + table)
        for it in range(BOUND if BOUND > 0 else count):
            listed = it < count
            block = tl.load(idx + table * width + it, mask=listed, other=0)
            query, live, row = _rows(block, part, batch, new, heads, BLOCK_Q, PACK, M)
            live = live & listed
            queries = tl.load(q + row[:, None] * D + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0)
            slopes = tl.load(grad + row[:, None] * DV + e[None, :], mask=live[:, None] & (e < DV)[None, :], other=0)
            low = tl.load(lse + row, mask=live, other=float("-inf"))
            low = tl.where(low == float("-inf"), float("inf"), low * LOG2E)
            part_delta = tl.load(delta + row, mask=live, other=0.0)
            s = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * (scale * LOG2E)
            if BIAS:
                s += tl.load(bias + whole * length + key, mask=exists, other=0.0).to(tl.float32)[None, :] * LOG2E
            seen = exists[None, :] & live[:, None]
            if CAUSAL:
                seen = seen & (key[None, :] <= (query + (length - new))[:, None])
            p, ds = _slope(tl.where(seen, s, float("-inf")), slopes, values, low, part_delta, PRECISION)
            total_v += tl.dot(tl.trans(p.to(slopes.dtype)), slopes, input_precision=PRECISION)
            total_k += tl.dot(tl.trans(ds.to(queries.dtype)), queries, input_precision=PRECISION)
            total_b += tl.sum(ds, 0)
    tl.store(dk + at_k, (total_k * scale).to(dk.dtype.element_ty), mask=exists[:, None] & (d < D)[None, :])
    tl.store(dv + at_v, total_v.to(dv.dtype.element_ty), mask=exists[:, None] & (e < DV)[None, :])
    if BIAS:
        tl.store(dbias + whole * length + key, total_b, mask=exists)
