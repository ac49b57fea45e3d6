"""Triton kernels of `sparse_decode`: parts of a set in parallel, then their merge."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import INTERPRET

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def part_kernel(
    q,
    k,
    v,
    idx,
    num,
    bias,
    parts,
    lses,
    scores,
    length,
    heads,
    lists,
    slots,
    scale,
    D: tl.constexpr,
    DP: tl.constexpr,
    DV: tl.constexpr,
    DVP: tl.constexpr,
    SHARE: tl.constexpr,
    GROUP: tl.constexpr,
    M: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    ROUNDS: tl.constexpr,
    SPLITS: tl.constexpr,
    BIAS: tl.constexpr,
    SCORES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The GROUP heads of one list over one part of it, ROUNDS tiles of TILE keys. SHARE: lists of a key head."""
    if not INTERPRET:  # a traced program hands Python's float64 on
        scale = scale.to(tl.float32)
    split, group, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    whole = (batch * lists + group).to(tl.int64)
    owner = (batch * (lists // SHARE) + group // SHARE).to(tl.int64)
    r, d, e = tl.arange(0, M), tl.arange(0, DP), tl.arange(0, DVP)
    row = batch * heads + group * GROUP + r
    live = r < GROUP
    count = tl.load(num + whole)
    queries = tl.load(q + row[:, None] * D + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0)
    k += owner * length * D
    v += owner * length * DV
    acc = tl.zeros((M, DVP), tl.float32)
    m = tl.full((M,), float("-inf"), tl.float32)
    mass = tl.zeros((M,), tl.float32)
    for it in range(ROUNDS):
        n = (split * ROUNDS + it) * TILE + tl.arange(0, TILE)
        slot = n // BLOCK
        listed = slot < count
        key = tl.load(idx + whole * slots + slot, mask=listed, other=0) * BLOCK + n % BLOCK
        listed = listed & (key < length)
        at = key.to(tl.int64)[:, None]
        keys = tl.load(k + at * D + d[None, :], mask=listed[:, None] & (d < D)[None, :], other=0)
        values = tl.load(v + at * DV + e[None, :], mask=listed[:, None] & (e < DV)[None, :], other=0)
        s = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * (scale * LOG2E)
        if BIAS:
            s += tl.load(bias + owner * length + key, mask=listed, other=0.0)[None, :] * LOG2E
        s = tl.where(listed[None, :], s, float("-inf"))
        if SCORES:
            tl.store(
                scores + row[:, None].to(tl.int64) * (slots * BLOCK) + n[None, :],
                s / LOG2E,
                mask=live[:, None] & (n < slots * BLOCK)[None, :],
            )
        higher = tl.maximum(m, tl.max(s, 1))
        top = tl.where(higher == float("-inf"), 0.0, higher)
        p = tl.exp2(s - top[:, None])
        shrink = tl.exp2(m - top)
        mass = mass * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None] + tl.dot(p.to(values.dtype), values, input_precision=PRECISION)
        m = higher
    some = mass > 0
    place = row * SPLITS + split
    tl.store(
        parts + place[:, None].to(tl.int64) * DV + e[None, :],
        acc / tl.where(some, mass, 1.0)[:, None],
        mask=live[:, None] & (e < DV)[None, :],
    )
    tl.store(lses + place, tl.where(some, m + tl.log2(tl.where(some, mass, 1.0)), float("-inf")), mask=live)


@triton.jit
def merge_kernel(
    parts, lses, out, lse, DV: tl.constexpr, DVP: tl.constexpr, SPLITS: tl.constexpr, SPLITSP: tl.constexpr
):
    """Joins the parts of one head by their log-sum-exps, which are in units of log2."""
    row = tl.program_id(0).to(tl.int64)
    n, e = tl.arange(0, SPLITSP), tl.arange(0, DVP)
    each = tl.load(lses + row * SPLITS + n, mask=n < SPLITS, other=float("-inf"))
    top = tl.max(each, 0)
    safe = tl.where(top == float("-inf"), 0.0, top)
    share = tl.exp2(each - safe)
    mass = tl.sum(share, 0)
    values = tl.load(
        parts + (row * SPLITS + n)[:, None] * DV + e[None, :], mask=(n < SPLITS)[:, None] & (e < DV)[None, :], other=0.0
    )
    result = tl.sum(values * share[:, None], 0) / tl.where(mass > 0, mass, 1.0)
    tl.store(out + row * DV + e, result.to(out.dtype.element_ty), mask=e < DV)
    tl.store(lse + row, tl.where(mass > 0, (safe + tl.log2(tl.where(mass > 0, mass, 1.0))) / LOG2E, float("-inf")))
