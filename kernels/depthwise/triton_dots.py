"""Triton kernel of `depthwise` for int8 by int8: four neighbouring pixels and four taps a `dp4a`."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import INTERPRET, await_inputs, mul_rn
from neurokit.kernels.depthwise.triton import _float32, _row

# 1.5 * 2^23, and its bits. A whole number n below 2^22 added to the bits gives those of 1.5 * 2^23 + n. A float32 added
# to the number is rounded into the last bits, halves to even. A conversion takes four times as long.
MAGIC: tl.constexpr = tl.constexpr(12582912.0)
MAGIC_BITS: tl.constexpr = tl.constexpr(0x4B400000)


@triton.jit
def _dp4a(a, b, total):
    """Increases `total` by the products of the four signed bytes of two words."""
    if INTERPRET:
        up = 8 * tl.arange(0, 4)[None, :]
        return total + tl.sum(((a[:, None] << up) >> 24) * ((b[:, None] << up) >> 24), axis=1)
    return tl.inline_asm_elementwise(
        "dp4a.s32.s32 $0, $1, $2, $3;", "=r,r,r,r", [a, b, total], dtype=tl.int32, is_pure=True, pack=1
    )


@triton.jit
def _slide(word, byte):
    """A word whose lowest byte is dropped and whose highest one is the lowest of `byte`."""
    if INTERPRET:
        return ((word >> 8) & 0xFFFFFF) | (byte << 24)
    return tl.inline_asm_elementwise(
        "prmt.b32 $0, $1, $2, 0x4321;", "=r,r,r", [word, byte], dtype=tl.int32, is_pure=True, pack=1
    )


@triton.jit
def _pixel(address, place, places):
    """The byte at an address, or 0 where `place` is none of 0 to `places` - 1; the upper bytes are not defined.

    One comparison, without a sign, tells both sides: a negative place is a very large one.
    Assembly, because `tl.load` gives 16 bits, whose upper half costs another instruction to be rid of.
    """
    if INTERPRET:
        there = (place >= 0) & (place < places)
        return tl.load(address.to(tl.pointer_type(tl.int8), bitcast=True), mask=there, other=0).to(tl.int32)
    return tl.inline_asm_elementwise(
        "{.reg .pred p; setp.lt.u32 p, $2, $3; mov.b32 $0, 0; @p ld.global.u8 $0, [$1];}",
        "=&r,l,r,r",
        [address, place, places],
        dtype=tl.int32,
        is_pure=True,
        pack=1,
    )


@triton.jit
def _pixels(x, row, left, live, height, width, COUNT: tl.constexpr, STRIDE: tl.constexpr):
    """COUNT neighbouring pixels of a row from column `left` on; zeros outside of the picture."""
    nothing = tl.zeros(live.shape, tl.int32)
    places = tl.where(live & ((row >= 0) & (row < height)), width, 0)
    pixels = ()
    for i in tl.static_range(COUNT):
        pixels = pixels + (_pixel(x + i * STRIDE, nothing + (left + i), places),)
    return pixels


@triton.jit
def _kept(total, scale_row, bias_row, inverse, low, high, KIND: tl.constexpr, ROUND: tl.constexpr):
    """A sum increased by MAGIC_BITS as it is stored; the bits of `_result` of the sum."""
    y = mul_rn(total.to(tl.float32, bitcast=True) - MAGIC, scale_row) + bias_row
    if ROUND:
        y = tl.minimum(tl.maximum(y, low), high) * inverse + MAGIC
        return y.to(tl.int32, bitcast=True).to(KIND)
    else:
        return y.to(KIND)


@writes("out")
@triton.jit
def depthwise_dots_kernel(
    x,
    weight,
    bias,
    scale,
    out,
    inverse,
    low,
    high,
    height,
    width,
    out_height,
    out_width,
    channels,
    CHANNELS: tl.constexpr,
    STRIDE: tl.constexpr,
    KERNEL: tl.constexpr,
    PAD: tl.constexpr,
    BIAS: tl.constexpr,
    SCALE: tl.constexpr,
    ROUND: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
    SEGMENT: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """SEGMENT output rows x WIDE columns x COLS channels of one sample, from top to bottom.

    A thread owns a channel. `words[i]` holds pixels i to i + 3 of the current row, `taps` the kernel's rows, four taps
    a word and zeros behind the last; these and the sums of the KERNEL output rows that a row reaches are registers.
    AHEAD: the next row is loaded before the current one is used. A number of channels that is known, too, makes the
    addresses of a row one register and a number each; `channels` in the mask keeps that a comparison a pixel.
    """
    await_inputs()
    inverse, low, high = _float32(inverse, low, high)
    WORDS: tl.constexpr = (KERNEL + 3) // 4
    PIXELS: tl.constexpr = WIDE + KERNEL - 1
    BLOCKS: tl.constexpr = (CHANNELS + COLS - 1) // COLS
    left = tl.program_id(0) * WIDE
    top = tl.program_id(1) // BLOCKS * SEGMENT
    c = tl.program_id(1) % BLOCKS * COLS + tl.arange(0, COLS)
    live = c < channels
    sample = tl.program_id(2).to(tl.int64)
    x += ((sample * height + (top - PAD)) * width + (left - PAD)) * STRIDE + c
    x = x.to(tl.int64, bitcast=True)
    out += ((sample * out_height + (top - (KERNEL - 1))) * out_width + left) * CHANNELS + c
    bias_row = _row(bias, c, channels, BIAS, 0.0)
    scale_row = _row(scale, c, channels, SCALE, 1.0)
    nothing = tl.zeros((COLS,), tl.int32)
    fresh = nothing + MAGIC_BITS
    taps = ()
    for dy in tl.static_range(KERNEL):
        for first in tl.static_range(0, KERNEL, 4):
            word = nothing
            for dx in tl.static_range(first, first + 4):
                tap = nothing
                if dx < KERNEL:
                    tap = tl.load(weight + (dy * KERNEL + dx) * CHANNELS + c, mask=live, other=0).to(tl.int32)
                word = _slide(word, tap)
            taps = taps + (word,)
    # sums[dy * WIDE + i] is of the output row that the next input row reaches by the taps of row dy + 1.
    sums = ()
    for _ in tl.static_range((KERNEL - 1) * WIDE):
        sums = sums + (fresh,)
    following = ()
    if AHEAD:
        following = _pixels(x, top - PAD, left - PAD, live, height, width, PIXELS, STRIDE)
    for r in range(SEGMENT + KERNEL - 1):
        if AHEAD:
            pixels = following
            following = _pixels(x + width * STRIDE, top + r + 1 - PAD, left - PAD, live, height, width, PIXELS, STRIDE)
        else:
            pixels = _pixels(x, top + r - PAD, left - PAD, live, height, width, PIXELS, STRIDE)
        word = nothing
        words = ()
        for i in tl.static_range(WIDE + 4 * WORDS - 1):
            if i < PIXELS:
                word = _slide(word, pixels[i])
            else:
                word = _slide(word, nothing)
            if i >= 3:
                words = words + (word,)
        moved = ()
        row = r - (KERNEL - 1)
        columns = tl.where(live & ((row >= 0) & (top + row < out_height)), out_width, 0)
        for dy in tl.static_range(KERNEL):
            for i in tl.static_range(WIDE):
                total = fresh
                if dy > 0:
                    total = sums[(dy - 1) * WIDE + i]
                for j in tl.static_range(WORDS):
                    total = _dp4a(words[i + 4 * j], taps[dy * WORDS + j], total)
                if dy < KERNEL - 1:
                    moved = moved + (total,)
                else:
                    y = _kept(total, scale_row, bias_row, inverse, low, high, out.dtype.element_ty, ROUND)
                    tl.store(out + i * CHANNELS, y, mask=left + i < columns)
        sums = moved
        x += width * STRIDE
        out += out_width * CHANNELS
