"""Device functions that the kernels share: the neuron step without contraction, bits in and out."""

import triton
import triton.language as tl

from neurokit.kernels._compat import INTERPRET as _INTERPRET

INTERPRET: tl.constexpr = tl.constexpr(_INTERPRET)
OUT_SAME: tl.constexpr = tl.constexpr(0)
OUT_INT8: tl.constexpr = tl.constexpr(1)
OUT_PACKED: tl.constexpr = tl.constexpr(2)


@triton.jit
def mul_rn(a, b):
    """Product rounded on its own.

    A plain `a * b + c` may become one fused operation with one rounding, under torch.compile too, where launch
    options that forbid it are lost; the reference rounds twice.
    """
    if INTERPRET:
        return a * b
    a, b = tl.broadcast(a, b)
    return tl.inline_asm_elementwise("mul.rn.f32 $0, $1, $2;", "=f,f,f", [a, b], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit
def leak(y, factor, LEAK: tl.constexpr):
    """Y / tau: an exact product (1), a rounded division (2) or a rounded product (3)."""
    if LEAK == 1:
        return y * factor
    elif LEAK == 2:
        return tl.div_rn(y, tl.zeros_like(y) + factor)
    else:
        return mul_rn(y, tl.zeros_like(y) + factor)


@triton.jit
def charge(x, v, factor, v_reset, LEAK: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr):
    """The charged membrane of one step. HARD: 0 a soft reset, 1 a reset to v_reset, 2 a reset to zero."""
    if LEAK == 0:
        return v + x
    else:
        rest = v
        if HARD == 1:
            rest = v - v_reset
        if DECAY_INPUT:
            return v + leak(x - rest, factor, LEAK)
        else:
            return (v - leak(rest, factor, LEAK)) + x


@triton.jit
def reset(h, s, threshold, v_reset, HARD: tl.constexpr):
    """The membrane after firing."""
    if HARD == 2:
        return tl.where(s, 0.0, h)
    elif HARD == 1:
        return tl.where(s, v_reset, h)
    else:
        return tl.where(s, h - threshold, h)


@triton.jit
def as_spikes(s, KIND: tl.constexpr):
    """Decisions as numbers. By way of float32, because the interpreter cannot turn a bool into bfloat16."""
    if KIND.is_floating():
        return tl.where(s, 1.0, 0.0).to(KIND)
    else:
        return s.to(KIND)


@triton.jit
def pack_rows(s, ROWS: tl.constexpr, COLS: tl.constexpr):
    """[ROWS, COLS] of 0 or 1 -> [ROWS, COLS // 32] words, lowest bit first. The bits are disjoint: a sum is an or."""
    bit = (tl.full((COLS,), 1, tl.int32) << (tl.arange(0, COLS) % 32))[None, :]
    return tl.sum(tl.reshape(tl.where(s, bit, 0), (ROWS, COLS // 32, 32)), axis=2)


@triton.jit
def pack_flat(s, SIZE: tl.constexpr):
    """[SIZE] of 0 or 1 -> [SIZE // 32] words."""
    bit = tl.full((SIZE,), 1, tl.int32) << (tl.arange(0, SIZE) % 32)
    return tl.sum(tl.reshape(tl.where(s, bit, 0), (SIZE // 32, 32)), axis=1)


@triton.jit
def surrogate(z, alpha, SURROGATE: tl.constexpr):
    """Derivative that stands for the step's: 0 sigmoid, 1 atan, 2 triangle."""
    if SURROGATE == 0:
        s = 1.0 / (1.0 + tl.exp(-alpha * z))
        return alpha * s * (1.0 - s)
    elif SURROGATE == 1:
        w = 1.5707963267948966 * alpha * z
        return (alpha * 0.5) / (1.0 + w * w)
    else:
        return tl.maximum(alpha - alpha * alpha * tl.abs(z), 0.0)


@triton.jit
def neuron_epilogue(
    acc, v, scale_row, bias_row, residual, offset, mask, factor, threshold, v_reset,
    SCALE: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    LEAK: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr,
):  # fmt: skip
    """From a product's accumulator to current, spikes and membrane, in float32 all the way."""
    y = acc.to(tl.float32)
    if SCALE:
        y = mul_rn(y, scale_row)
    if BIAS:
        y = y + bias_row
    if RESIDUAL:
        y = y + tl.load(residual + offset, mask=mask, other=0.0).to(tl.float32)
    h = charge(y, v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
    s = h >= threshold
    return y, s, reset(h, s, threshold, v_reset, HARD)


@triton.jit
def store_spikes(
    spikes, s, row, col, rows, cols, OUT: tl.constexpr, EVEN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """Stores a [ROWS, COLS] tile of decisions whose first row and column are `row` and `col`.

    EVEN: no column of the tile lies outside.
    """
    r = tl.arange(0, ROWS)
    c = col + tl.arange(0, COLS)
    live = (row + r < rows)[:, None]
    if OUT == OUT_PACKED:
        words = (cols + 31) // 32
        w = col // 32 + tl.arange(0, COLS // 32)
        if not EVEN:
            # A column that does not exist must leave a zero bit, whatever its membrane is.
            s = s & (c < cols)[None, :]
        packed = pack_rows(s, ROWS, COLS)
        spikes += tl.cast(row, tl.int64) * words
        tl.store(spikes + r[:, None] * words + w[None, :], packed, mask=live & (w < words)[None, :])
    else:
        spikes += tl.cast(row, tl.int64) * cols
        numbers = as_spikes(s, spikes.dtype.element_ty)
        tl.store(spikes + r[:, None] * cols + c[None, :], numbers, mask=live & (c < cols)[None, :])


@triton.jit
def operand(a, LIKE: tl.constexpr, UPCAST: tl.constexpr):
    """Spikes in the type the product needs; float32 under the interpreter, whose bfloat16 product is wrong."""
    if UPCAST:
        return a.to(tl.float32)
    return a.to(LIKE)
