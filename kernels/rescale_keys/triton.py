"""Triton kernel of `rescale_keys`: one small product with the few keys, and the output corrected in its place."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import INTERPRET

LEAST = tl.constexpr(1e-5)  # neurokit.attention.rescale.LEAST
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def rescale_kernel(
    out,
    lse,
    q,
    k,
    v,
    keys,
    new,
    offset,
    scale,
    above,
    above_mass,
    below,
    below_mass,
    out_batch,
    out_head,
    out_row,
    q_batch,
    q_head,
    q_row,
    k_batch,
    k_head,
    k_row,
    v_batch,
    v_head,
    v_row,
    GROUP: tl.constexpr,
    COUNT: tl.constexpr,
    NP: tl.constexpr,
    D: tl.constexpr,
    DP: tl.constexpr,
    DV: tl.constexpr,
    DVP: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """ROWS queries of one head; the last axis of every tensor is dense."""
    if not INTERPRET:  # a traced program hands Python's float64 on
        scale, above, above_mass = scale.to(tl.float32), above.to(tl.float32), above_mass.to(tl.float32)
        below, below_mass = below.to(tl.float32), below_mass.to(tl.float32)
    at, head, batch = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    row = (at * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    n, d, e = tl.arange(0, NP), tl.arange(0, DP), tl.arange(0, DVP)
    live, listed = row < new, n < COUNT
    place = tl.load(keys + n, mask=listed, other=0)
    q += batch * q_batch + head * q_head
    k += batch * k_batch + head // GROUP * k_head
    v += batch * v_batch + head // GROUP * v_head
    out += batch * out_batch + head * out_head
    x = tl.load(q + row[:, None] * q_row + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0)
    few = tl.load(k + place[:, None] * k_row + d[None, :], mask=listed[:, None] & (d < D)[None, :], other=0)
    total = tl.load(lse + (batch * tl.num_programs(1) + head) * new + row, mask=live, other=0.0)
    s = tl.dot(x, tl.trans(few), input_precision=PRECISION) * scale - total[:, None]
    seen = listed[None, :] & (place[None, :] <= (offset + row)[:, None])
    w = tl.where(seen, tl.exp2(s * LOG2E), 0.0)
    mass = tl.sum(w, 1)
    more = (above + above_mass * mass) / tl.maximum(below + below_mass * mass, 1e-6) - 1.0
    # A row without mass beside the keys stays as it is: what would be left of it is rounding, or 0.
    more = tl.where(1.0 + more * mass > LEAST, more, 0.0)
    values = tl.load(v + place[:, None] * v_row + e[None, :], mask=listed[:, None] & (e < DV)[None, :], other=0)
    part = tl.dot(w.to(values.dtype), values, input_precision=PRECISION)
    spot, inside = out + row[:, None] * out_row + e[None, :], live[:, None] & (e < DV)[None, :]
    y = tl.load(spot, mask=inside, other=0).to(tl.float32)
    y = (y + more[:, None] * part) / (1.0 + more * mass)[:, None]
    tl.store(spot, y.to(out.dtype.element_ty), mask=inside)
