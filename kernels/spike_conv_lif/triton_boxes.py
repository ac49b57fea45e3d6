"""Triton kernel of `spike_conv_lif` by boxes: spikes through tensor descriptors, all steps in one product."""

import triton
import triton.language as tl

from neurokit.kernels._compat import restores, writes
from neurokit.kernels.common.triton import (
    INTERPRET,
    OUT_LEVELS,
    await_inputs,
    charge,
    fire_bits,
    fresh_membrane,
    levels_out,
    mul_rn,
    on_grid,
)
from neurokit.kernels.spike_conv_lif.triton_borders import of_numbers
from neurokit.kernels.spike_conv_lif.triton_splits import joined
from neurokit.kernels.spike_conv_lif.triton_sums import boxes_of, convolve


@triton.jit
def _apart(acc, STEPS: tl.constexpr, COLS: tl.constexpr, LANES: tl.constexpr):
    """The sums of each step, `[COLS, pixels]`: they lie in the same thread, so that nothing moves."""
    parts = (acc,)
    if STEPS > 1:
        parts = tl.split(tl.permute(tl.reshape(acc, (COLS, 2, LANES // 2)), (0, 2, 1)))
    if STEPS > 2:
        a, b = tl.split(tl.permute(tl.reshape(parts[0], (COLS, 2, LANES // 4)), (0, 2, 1)))
        c, d = tl.split(tl.permute(tl.reshape(parts[1], (COLS, 2, LANES // 4)), (0, 2, 1)))
        parts = (a, b, c, d)
    if STEPS > 4:
        halves = ()
        for i in tl.static_range(4):
            halves = halves + tl.split(tl.permute(tl.reshape(parts[i], (COLS, 2, LANES // 8)), (0, 2, 1)))
        parts = halves
    return parts


@triton.jit
def _places(
    n,
    y,
    x,
    col,
    batch,
    height,
    width,
    cols,
    end,
    IMAGES: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
):
    """Offsets `[COLS, pixels]` into one step of the output, and which of them exist, of channels before `end`."""
    p = tl.arange(0, IMAGES * TALL * WIDE)
    image = n + p // (TALL * WIDE)
    row = y + p // WIDE % TALL
    column = x + p % WIDE
    c = col + tl.arange(0, COLS)
    inside = (image < batch) & (row < height) & (column < width)
    pixel = (image * height + row) * width + column
    return pixel[None, :] * cols + c[:, None], inside[None, :] & (c < end)[:, None]


@triton.jit
def _tile(
    tile,
    views,
    tails,
    weight,
    weight_tail,
    out,
    scale,
    bias,
    residual,
    current,
    partials,
    counters,
    beside,
    batch,
    height,
    width,
    cols,
    factor,
    threshold,
    v_reset,
    rounding,
    least,
    corrections,
    edges,
    T: tl.constexpr,
    CHANNELS: tl.constexpr,
    GROUPS: tl.constexpr,
    KERNEL: tl.constexpr,
    COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    PAIRED: tl.constexpr,
    INTEGER: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RESIDUAL_STEPS: tl.constexpr,
    OUT_BOXES: tl.constexpr,
    SHORTCUT_BOXES: tl.constexpr,
    WANT_CURRENT: tl.constexpr,
    LIMITED: tl.constexpr,
    ROUND: tl.constexpr,
    LESS: tl.constexpr,
    OUT: tl.constexpr,
    BESIDE: tl.constexpr,
    STEPS: tl.constexpr,
    IMAGES: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TAIL_K: tl.constexpr,
    SPLIT: tl.constexpr,
    PARTS: tl.constexpr,
):
    """IMAGES x TALL x WIDE pixels x COLS channels, all steps; `height` and `width` are the output's."""
    PIXELS: tl.constexpr = IMAGES * TALL * WIDE
    NUMBERS: tl.constexpr = out.dtype if OUT_BOXES else out.dtype.element_ty
    # Tiles of the same pixels follow each other: they share the spikes in the cache.
    own = cols // GROUPS
    own_blocks = (own + COLS - 1) // COLS
    col_blocks = own_blocks * GROUPS
    across = (width + WIDE - 1) // WIDE
    down = (height + TALL - 1) // TALL
    part = 0
    if SPLIT:
        part = tile % PARTS
        tile = tile // PARTS
    block = tile // col_blocks
    group = tile % col_blocks // own_blocks
    col = group * own + tile % own_blocks * COLS
    x = block % across * WIDE
    y = block // across % down * TALL
    n = block // (across * down) * IMAGES
    acc = convolve(
        views,
        tails,
        weight,
        weight_tail,
        n,
        y,
        x,
        col,
        group * CHANNELS,
        part,
        PARTS,
        CHANNELS,
        KERNEL,
        COLUMNS,
        STRIDE,
        PAD,
        PAIRED,
        INTEGER,
        COLS,
        STEPS * PIXELS,
        BLOCK_K,
        TAIL_K,
    )
    ends: tl.constexpr = True
    if SPLIT:
        acc, ends = joined(acc, partials, counters, tile, part, PARTS, COLS, STEPS * PIXELS)
    if ends:
        if LESS:
            acc = of_numbers(acc, corrections, edges, y, x, col, height, width, cols, STEPS, IMAGES, TALL, WIDE, COLS)
        sums = _apart(acc, STEPS, COLS, STEPS * PIXELS)
        c = col + tl.arange(0, COLS)
        if SCALE:
            scale_of = tl.load(scale + c, mask=c < cols, other=0.0)[:, None]
        if BIAS:
            bias_of = tl.load(bias + c, mask=c < cols, other=0.0)[:, None]
        if BESIDE or not OUT_BOXES or ((RESIDUAL or WANT_CURRENT) and not SHORTCUT_BOXES):
            offset, mask = _places(
                n, y, x, col, batch, height, width, cols, (group + 1) * own, IMAGES, TALL, WIDE, COLS
            )
            step = tl.cast(batch, tl.int64) * height * width * cols
        currents, through = (), ()
        for t in tl.static_range(T):
            z = sums[t].to(tl.float32)
            if SCALE:
                z = mul_rn(z, scale_of)
            if BIAS:
                z = z + bias_of
            if RESIDUAL and not SHORTCUT_BOXES:
                # Before the first store, so that the loads of all steps are in flight together.
                added = tl.load(residual + (t if RESIDUAL_STEPS > 1 else 0) * step + offset, mask=mask, other=0)
                z = z + added.to(tl.float32)
            currents = currents + (z,)
            if BESIDE:
                through = through + (tl.load(beside + t * step + offset, mask=mask, other=0),)
        v = fresh_membrane(v_reset, HARD, COLS, PIXELS)
        for t in tl.static_range(T):
            z = currents[t]
            if RESIDUAL and SHORTCUT_BOXES:
                added = tl.reshape(residual.load([t if RESIDUAL_STEPS > 1 else 0, n, y, x, col]), (PIXELS, COLS))
                z = z + tl.trans(added).to(tl.float32)
            if ROUND == 2:
                z = on_grid(z, rounding)
            if WANT_CURRENT:
                shown = tl.maximum(z, least) if LIMITED else z
                if SHORTCUT_BOXES:
                    shown = tl.reshape(tl.trans(shown.to(current.dtype)), (1, IMAGES, TALL, WIDE, COLS))
                    current.store([t, n, y, x, col], shown)
                else:
                    tl.store(current + t * step + offset, shown.to(current.dtype.element_ty), mask=mask)
            if OUT >= OUT_LEVELS:
                found = levels_out(z, rounding, OUT).to(NUMBERS)
            else:
                if ROUND == 1:
                    z = on_grid(z, rounding)
                h = charge(z, v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
                v, bits = fire_bits(h, tl.full((COLS, 1), 1, tl.int32), threshold, v_reset, HARD)
                found = bits.to(NUMBERS)
                if BESIDE:
                    found = found + through[t]
            if OUT_BOXES:
                out.store([t, n, y, x, col], tl.reshape(tl.trans(found), (1, IMAGES, TALL, WIDE, COLS)))
            else:
                tl.store(out + t * step + offset, found, mask=mask)


@triton.jit
def _output(
    base, size, T: tl.constexpr, IMAGES: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr, COLS: tl.constexpr
):
    """The descriptor of a tile's pixels in one step of what lies like the output, of T steps."""
    batch, height, width, cols = size
    image = tl.cast(height, tl.int64) * width * cols
    return boxes_of(
        base,
        batch,
        height,
        width,
        image * batch,
        image,
        width * cols,
        cols,
        cols,
        T,
        1,
        IMAGES,
        TALL,
        WIDE,
        COLS,
    )


@restores("counters")
@writes("spikes", current="WANT_CURRENT", partials="SPLIT")
@triton.jit
def spike_conv_lif_boxes_kernel(
    view0,
    view1,
    view2,
    view3,
    tail0,
    tail1,
    tail2,
    tail3,
    weight,
    weight_tail,
    scale,
    bias,
    residual,
    spikes,
    current,
    partials,
    counters,
    beside,
    batch,
    out_height,
    out_width,
    cols,
    tiles,
    factor,
    threshold,
    v_reset,
    spacing,
    inverse,
    low,
    high,
    least,
    corrections,
    top,
    last_row,
    left,
    last_column,
    T: tl.constexpr,
    CHANNELS: tl.constexpr,
    GROUPS: tl.constexpr,
    KERNEL: tl.constexpr,
    COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    PAIRED: tl.constexpr,
    INTEGER: tl.constexpr,
    LEAK: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    HARD: tl.constexpr,
    SCALE: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RESIDUAL_STEPS: tl.constexpr,
    HOSTED: tl.constexpr,
    OUT_BOXES: tl.constexpr,
    SHORTCUT_BOXES: tl.constexpr,
    WANT_CURRENT: tl.constexpr,
    LIMITED: tl.constexpr,
    ROUND: tl.constexpr,
    LESS: tl.constexpr,
    OUT: tl.constexpr,
    BESIDE: tl.constexpr,
    STEPS: tl.constexpr,
    IMAGES: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TAIL_K: tl.constexpr,
    SPLIT: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Tiles of the output, one after another where there are fewer programs.

    view, tail: Descriptors of STRIDE x STRIDE lattices of the input's pixels, or of STRIDE where neighbours are paired,
        in blocks of BLOCK_K and TAIL_K channels; a tap meets the pixels of one. `weight` is `[cols, taps]`.
    GROUPS: of input channels, CHANNELS each, and of as many equal ones of the output, which are sums of their own.
    tiles: Programs that the output takes one after another, parts of a sum among them.
    SPLIT: a tile's sum is that of PARTS programs, which keep theirs in `partials` and count in `counters`.
    HOSTED: the output is a descriptor, too, and no pointer.
    OUT_BOXES: it is written by a descriptor, the host's or the kernel's, and not by pointers.
    SHORTCUT_BOXES: the residual and the current go through descriptors, too, and not by pointers.
    LESS: the input are numbers less 128, and `corrections` make of their sums those of the numbers.
    BESIDE: the numbers that are added to the spikes, by pointers.
    """
    await_inputs()
    threshold = tl.cast(threshold, tl.float32)
    v_reset = tl.cast(v_reset, tl.float32)
    factor = tl.cast(factor, tl.float32)
    spacing, inverse = tl.cast(spacing, tl.float32), tl.cast(inverse, tl.float32)
    least = tl.cast(least, tl.float32)
    rounding = (spacing, inverse, tl.cast(low, tl.float32), tl.cast(high, tl.float32))
    LATTICES: tl.constexpr = STRIDE if PAIRED else STRIDE * STRIDE
    views, tails = (view0,), (tail0,)
    if LATTICES > 1:
        views, tails = (view0, view1), (tail0, tail1)
    if LATTICES > 2:
        views, tails = (view0, view1, view2, view3), (tail0, tail1, tail2, tail3)
    size = (batch, out_height, out_width, cols)
    if HOSTED or not OUT_BOXES:
        out = spikes
    else:
        out = _output(spikes, size, T, IMAGES, TALL, WIDE, COLS)
    if RESIDUAL and SHORTCUT_BOXES:
        residual = _output(residual, size, RESIDUAL_STEPS, IMAGES, TALL, WIDE, COLS)
    if WANT_CURRENT and SHORTCUT_BOXES:
        current = _output(current, size, T, IMAGES, TALL, WIDE, COLS)
    # The interpreter cannot loop to a runtime number (NumPy 2.4): there every tile has a program.
    for i in range(0, 1 if INTERPRET else (tiles - tl.program_id(0) + tl.num_programs(0) - 1) // tl.num_programs(0)):
        _tile(
            tl.program_id(0) + i * tl.num_programs(0),
            views,
            tails,
            weight,
            weight_tail,
            out,
            scale,
            bias,
            residual,
            current,
            partials,
            counters,
            beside,
            batch,
            out_height,
            out_width,
            cols,
            factor,
            threshold,
            v_reset,
            rounding,
            least,
            corrections,
            (top, last_row, left, last_column),
            T,
            CHANNELS,
            GROUPS,
            KERNEL,
            COLUMNS,
            STRIDE,
            PAD,
            PAIRED,
            INTEGER,
            LEAK,
            DECAY_INPUT,
            HARD,
            SCALE,
            BIAS,
            RESIDUAL,
            RESIDUAL_STEPS,
            OUT_BOXES,
            SHORTCUT_BOXES,
            WANT_CURRENT,
            LIMITED,
            ROUND,
            LESS,
            OUT,
            BESIDE,
            STEPS,
            IMAGES,
            TALL,
            WIDE,
            COLS,
            BLOCK_K,
            TAIL_K,
            SPLIT,
            PARTS,
        )
