"""Device functions that the kernels share: the neuron step without contraction, bits in and out."""

import triton
import triton.language as tl

from neurokit.kernels._compat import INTERPRET as _INTERPRET
from neurokit.kernels._compat import fewest_processors

INTERPRET: tl.constexpr = tl.constexpr(_INTERPRET)
# A constant of this module, because the processes that compile for torch.compile cannot ask the GPU.
PROCESSORS: tl.constexpr = tl.constexpr(fewest_processors())
OUT_SAME: tl.constexpr = tl.constexpr(0)
OUT_INT8: tl.constexpr = tl.constexpr(1)
OUT_PACKED: tl.constexpr = tl.constexpr(2)
OUT_LEVELS: tl.constexpr = tl.constexpr(3)  # and what is above it
OUT_BYTES: tl.constexpr = tl.constexpr(5)


@triton.jit
def await_inputs():
    """Waits for the kernels before this one, and may let the next one begin to wait; the first thing a kernel does."""
    await_before(PROCESSORS)


@triton.jit
def await_before(processors: tl.constexpr):
    """`await_inputs` on a GPU of so many multiprocessors; of 0 nothing happens, because launches do not overlap.

    Programmatic dependent launch (CUDA C++ programming guide). Of a launch that does not ask for it, and before compute
    capability 9.0, nothing happens. What waits only here may touch no memory before.
    """
    if processors > 0:
        tl.extra.cuda.gdc_wait()
        # The next kernel's programs that begin early lie where there is room: behind programs on most multiprocessors,
        # two and more on each of the others, where they then share what could be theirs alone. On an H200 resnet34 was
        # 7 % slower at batch 32, and metaspikeformer_55m 4 % at batch 1, where kernels of up to 132 programs let the
        # next one begin; half of that leaves a multiprocessor for each of as many.
        if 2 * tl.num_programs(0) * tl.num_programs(1) * tl.num_programs(2) <= processors:
            tl.extra.cuda.gdc_launch_dependents()


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
def round_even(y):
    """The nearest whole number, halves to even: adding 2^23 leaves no bit behind the point; larger ones have none."""
    far = tl.where(y < 0, -8388608.0, 8388608.0)
    return tl.where(tl.abs(y) < 8388608.0, (y + far) - far, y)


@triton.jit
def leak(y, factor, LEAK: tl.constexpr):
    """Y / tau: an exact product (1), a rounded division (2 and 4, `leak_arguments`) or a rounded product (3)."""
    if LEAK == 1:
        return y * factor
    elif LEAK == 2:
        y, by = tl.broadcast(y, factor)
        return tl.div_rn(y, by)
    elif LEAK == 4:
        return divided(y, factor)
    else:
        return mul_rn(y, factor)


@triton.jit
def divided(y, by):
    """Y / by, rounded once, of a number that all share: what `tl.div_rn` gives, by corrections of Y * (1 / by).

    The remainder of a quotient is a float32, which a fused product finds exactly, and a quotient within one unit of the
    last place that is corrected by it is the rounded one (Markstein, Computation of elementary functions on the IBM
    RISC System/6000 processor, 1990): the first correction brings it there, the second rounds it. Of Y below 2^-100 the
    remainder may be no float32, and the last bit wrong. A division's own code looks for such numbers, and for infinite
    ones, in every quotient: 3x3 convolutions of 64 channels with such a neuron took 145 us, and take 68 (float16, 6.4
    million neurons of a step, an H200).
    """
    inverse = tl.div_rn(tl.cast(1.0, tl.float32), by)
    y, by, inverse = tl.broadcast(y, by)[0], tl.broadcast(by, y)[0], tl.broadcast(inverse, y)[0]
    if INTERPRET:  # which rounds the product of a fused one
        return tl.div_rn(y, by)
    else:
        quotient = mul_rn(y, inverse)
        rest = tl.fma(-quotient, by, y)
        near = tl.fma(rest, inverse, quotient)
        nearest = tl.fma(tl.fma(-near, by, y), inverse, near)
        # Of zeros, infinite ones and what is no number there is nothing to correct.
        return tl.where(tl.abs(rest) > 0, nearest, quotient)


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
def on_grid(y, rounding):
    """A current between limits, rounded to the multiples of a power of two: (spacing, 1 / spacing, low, high)."""
    return levels(y, rounding) * rounding[0]


@triton.jit
def levels(y, rounding):
    """The whole numbers of the grid that a current between limits is rounded to."""
    return round_even(tl.minimum(tl.maximum(y, rounding[2]), rounding[3]) * rounding[1])


@triton.jit
def levels_out(y, rounding, OUT: tl.constexpr):
    """The whole numbers as a form of levels has them: of bytes less 128."""
    if OUT == OUT_BYTES:
        return levels(y, rounding) - 128.0
    else:
        return levels(y, rounding)


@triton.jit
def as_spikes(s, KIND: tl.constexpr):
    """Decisions as numbers. By way of float32, because the interpreter cannot turn a bool into bfloat16."""
    if KIND.is_floating():
        return tl.where(s, 1.0, 0.0).to(KIND)
    else:
        return s.to(KIND)


@triton.jit
def _or(a, b):
    return a | b


@triton.jit
def pack_rows(s, ROWS: tl.constexpr, COLS: tl.constexpr):
    """[ROWS, COLS] of 0 or 1 -> [ROWS, COLS // 32] words, lowest bit first."""
    bit = (tl.full((COLS,), 1, tl.int32) << (tl.arange(0, COLS) % 32))[None, :]
    return words_of(tl.where(s, bit, 0), ROWS, COLS)


@triton.jit
def words_of(bits, ROWS: tl.constexpr, COLS: tl.constexpr):
    """[ROWS, COLS], each with its own bit of a word or 0 -> [ROWS, COLS // 32] words."""
    return tl.reduce(tl.reshape(bits, (ROWS, COLS // 32, 32)), 2, _or)


@triton.jit
def fire_bits(h, bit, threshold, v_reset, HARD: tl.constexpr):
    """The membrane after firing, and `bit` where it fired.

    One block of assembly, because otherwise all comparisons of a tile come first, and their predicates, of which
    there are seven, are packed into registers and unpacked again: two more instructions an element.
    """
    if INTERPRET:
        s = h >= threshold
        return reset(h, s, threshold, v_reset, HARD), tl.where(s, bit, 0)
    h, level = tl.broadcast(h, threshold)
    if HARD == 2:
        return tl.inline_asm_elementwise(
            "{.reg .pred p; setp.ge.f32 p, $2, $3; selp.f32 $0, 0f00000000, $2, p; selp.b32 $1, $4, 0, p;}",
            "=f,=r,f,f,r",
            [h, level, tl.broadcast_to(bit, h.shape)],
            dtype=(tl.float32, tl.int32),
            is_pure=True,
            pack=1,
        )
    else:
        if HARD == 1:
            h, after = tl.broadcast(h, v_reset)
        else:
            after = h - threshold
        return tl.inline_asm_elementwise(
            "{.reg .pred p; setp.ge.f32 p, $2, $3; selp.f32 $0, $5, $2, p; selp.b32 $1, $4, 0, p;}",
            "=f,=r,f,f,r,f",
            [h, level, tl.broadcast_to(bit, h.shape), after],
            dtype=(tl.float32, tl.int32),
            is_pure=True,
            pack=1,
        )


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
def tile_rows(scale, bias, col, cols, SCALE: tl.constexpr, BIAS: tl.constexpr, COLS: tl.constexpr):
    """Scale and bias of a tile's columns, [1, COLS] each."""
    c = col + tl.arange(0, COLS)
    scale_row = 1.0
    bias_row = 0.0
    if SCALE:
        scale_row = tl.load(scale + c, mask=c < cols, other=0.0)[None, :]
    if BIAS:
        bias_row = tl.load(bias + c, mask=c < cols, other=0.0)[None, :]
    return scale_row, bias_row


@triton.jit
def fresh_membrane(v_reset, HARD: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """The membrane before the first step."""
    v = tl.zeros((ROWS, COLS), tl.float32)
    if HARD == 1:
        v += v_reset
    return v


@triton.jit
def empty_sum(INTEGER: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """An accumulator: int32 for int8 products, float32 otherwise."""
    if INTEGER:
        return tl.zeros((ROWS, COLS), tl.int32)
    else:
        return tl.zeros((ROWS, COLS), tl.float32)


@triton.jit
def neuron_tile(
    acc,
    v,
    t,
    scale_row,
    bias_row,
    residual,
    residual_rows,
    spikes,
    current,
    beside,
    row,
    col,
    rows,
    cols,
    factor,
    threshold,
    v_reset,
    rounding,
    least,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    WANT_CURRENT: tl.constexpr,
    LIMITED: tl.constexpr,
    ROUND: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    OUT: tl.constexpr,
    BESIDE: tl.constexpr,
    EVEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Step `t` of a [ROWS, COLS] tile behind a product: affine, residual, neuron, stores. Float32 all the way.

    The tile's first row and column are `row` and `col` of `rows` x `cols`. EVEN: no column of it lies outside.
    `residual_rows`: rows of the residual from one step to the next, 0 where it is the same at every step.
    ROUND: 0 the current as it is, 1 rounded for the neuron, 2 rounded where it is stored, too.
    LIMITED: the current is stored where it is above `least`, else that. OUT from OUT_LEVELS on: no neuron, but the
    rounded current as whole numbers. BESIDE: the numbers that are added to the spikes. Returns the membrane.
    """
    r = tl.arange(0, ROWS)
    c = tl.arange(0, COLS)
    live = (row + r < rows)[:, None]
    mask = live
    if not EVEN:
        mask = live & (col + c < cols)[None, :]
    first = tl.cast(t, tl.int64) * rows + row
    # One 64-bit base a tile and 32-bit offsets inside it: 64-bit offsets an element would cost half the registers.
    offset = r[:, None] * cols + c[None, :]
    y = acc.to(tl.float32)
    if SCALE:
        y = mul_rn(y, scale_row)
    if BIAS:
        y = y + bias_row
    if RESIDUAL:
        added = tl.cast(t, tl.int64) * residual_rows + row
        y = y + tl.load(residual + added * cols + col + offset, mask=mask, other=0).to(tl.float32)
    through = 0
    if BESIDE:
        through = tl.load(beside + first * cols + col + offset, mask=mask, other=0)
    if ROUND == 2:
        y = on_grid(y, rounding)
    if WANT_CURRENT:
        shown = tl.maximum(y, least) if LIMITED else y
        tl.store(current + first * cols + col + offset, shown.to(current.dtype.element_ty), mask=mask)
    if OUT >= OUT_LEVELS:
        found = levels_out(y, rounding, OUT).to(spikes.dtype.element_ty)
        tl.store(spikes + first * cols + col + offset, found, mask=mask)
        return v
    else:
        if ROUND == 1:
            y = on_grid(y, rounding)
        h = charge(y, v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
        return _fire(
            h, spikes, through, first, row, col, rows, cols, threshold, v_reset, HARD, OUT, BESIDE, EVEN, ROWS, COLS
        )


@triton.jit
def _fire(
    h,
    spikes,
    through,
    first,
    row,
    col,
    rows,
    cols,
    threshold,
    v_reset,
    HARD: tl.constexpr,
    OUT: tl.constexpr,
    BESIDE: tl.constexpr,
    EVEN: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Stores the spikes of a tile whose first row, of all steps, is `first`; returns the membrane after the reset.

    BESIDE: with `through`, which is of the type of the output, added.
    """
    r = tl.arange(0, ROWS)
    c = tl.arange(0, COLS)
    live = (row + r < rows)[:, None]
    mask = live
    if not EVEN:
        mask = live & (col + c < cols)[None, :]
    offset = r[:, None] * cols + c[None, :]
    if OUT == OUT_PACKED:
        words = (cols + 31) // 32
        bit = (tl.full((COLS,), 1, tl.int32) << (c % 32))[None, :]
        if not EVEN:
            # A column that does not exist must leave a zero bit, whatever its membrane is.
            bit = tl.where((col + c < cols)[None, :], bit, 0)
        after, bits = fire_bits(h, bit, threshold, v_reset, HARD)
        word = tl.arange(0, COLS // 32)
        at = spikes + first * words + col // 32 + r[:, None] * words + word[None, :]
        tl.store(at, words_of(bits, ROWS, COLS), mask=live & (col // 32 + word < words)[None, :])
    elif OUT == OUT_INT8:
        after, bits = fire_bits(h, tl.full((1, COLS), 1, tl.int32), threshold, v_reset, HARD)
        whole = bits.to(tl.int8)
        if BESIDE:
            whole = whole + through
        tl.store(spikes + first * cols + col + offset, whole, mask=mask)
    else:
        # The bits of 1.0.
        after, bits = fire_bits(h, tl.full((1, COLS), 0x3F800000, tl.int32), threshold, v_reset, HARD)
        numbers = bits.to(tl.float32, bitcast=True)
        if BESIDE:
            numbers = numbers + through.to(tl.float32)
        tl.store(spikes + first * cols + col + offset, numbers.to(spikes.dtype.element_ty), mask=mask)
    return after


@triton.jit
def store_spikes(spikes, s, row, col, rows, cols, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Stores a [ROWS, COLS] tile of decisions as words; its first row and column are `row` and `col`."""
    r = tl.arange(0, ROWS)
    words = (cols + 31) // 32
    w = col // 32 + tl.arange(0, COLS // 32)
    s = s & (col + tl.arange(0, COLS) < cols)[None, :]
    spikes += tl.cast(row, tl.int64) * words
    packed = pack_rows(s, ROWS, COLS)
    tl.store(spikes + r[:, None] * words + w[None, :], packed, mask=(row + r < rows)[:, None] & (w < words)[None, :])


@triton.jit
def operand(a, LIKE: tl.constexpr, UPCAST: tl.constexpr):
    """A tile in the type the product needs; float32 under the interpreter, whose bfloat16 product is wrong.

    Integer spikes are 0 or 1: a product with the bits of 1.0 makes 16-bit numbers of them, two at a time, where a
    conversion would take several cycles for one.
    """
    if UPCAST:
        return a.to(tl.float32)
    elif INTERPRET or a.dtype.is_floating() or LIKE.is_int():
        return a.to(LIKE)
    elif a.dtype == tl.int8 and tl.bfloat16 == LIKE:
        return tl.inline_asm_elementwise(
            "{.reg .b32 a; prmt.b32 a, $2, 0, 0x4140; mul.lo.u32 $0, a, 0x3F80;"
            " prmt.b32 a, $2, 0, 0x4342; mul.lo.u32 $1, a, 0x3F80;}",
            "=r,=r,r",
            [a],
            dtype=tl.bfloat16,
            is_pure=True,
            pack=4,
        )
    elif a.dtype == tl.int8:
        return tl.inline_asm_elementwise(
            "{.reg .b32 a; prmt.b32 a, $2, 0, 0x4140; mul.lo.u32 $0, a, 0x3C00;"
            " prmt.b32 a, $2, 0, 0x4342; mul.lo.u32 $1, a, 0x3C00;}",
            "=r,=r,r",
            [a],
            dtype=tl.float16,
            is_pure=True,
            pack=4,
        )
    elif tl.bfloat16 == LIKE:
        return (a * 0x3F80).to(tl.int16).to(tl.bfloat16, bitcast=True)
    else:
        return (a * 0x3C00).to(tl.int16).to(tl.float16, bitcast=True)
