"""Gluon kernel of `spike_conv_lif` by rows: a row of pixels is loaded once for all taps that lie above each other.

One warp loads, the others multiply and run the neuron (README.md, "By rows").
"""

import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, tma

from neurokit.kernels._compat import writes
from neurokit.kernels.common.gluon_source import Function
from neurokit.kernels.common.triton import (
    OUT_LEVELS,
    await_before,
    charge,
    fire_bits,
    levels_out,
    mul_rn,
    on_grid,
)
from neurokit.kernels.spike_conv_lif.gluon_stages import count_of, fetch, load, slots_of, sums_of, tile_at

# Lanes of one instruction. Triton 3.6 has none of 256 on int8, and its assembler wants 154 registers for one.
_LANES: gl.constexpr = gl.constexpr(128)
_ENOUGH: gl.constexpr = gl.constexpr(160)


@gluon.jit
def _halves(x, COLS: gl.constexpr, TALL: gl.constexpr, REST: gl.constexpr):
    """`[COLS, TALL, 2, REST]` as two of `[COLS, TALL, REST]`; they lie in the same thread, so that nothing moves."""
    a, b = gl.split(gl.permute(gl.reshape(x, (COLS, TALL, 2, REST)), (0, 1, 3, 2)))
    return gl.reshape(a, (COLS, TALL * REST)), gl.reshape(b, (COLS, TALL * REST))


@gluon.jit
def _apart(acc, STEPS: gl.constexpr, COLS: gl.constexpr, TALL: gl.constexpr, ROW: gl.constexpr):
    """The sums of each step, `[COLS, TALL * ROW]`, of `[COLS, TALL, STEPS, ROW]`."""
    parts = (acc,)
    if STEPS > 1:
        parts = _halves(acc, COLS, TALL, STEPS // 2 * ROW)
    if STEPS > 2:
        half: gl.constexpr = STEPS // 4 * ROW
        parts = _halves(parts[0], COLS, TALL, half) + _halves(parts[1], COLS, TALL, half)
    if STEPS > 4:
        a = _halves(parts[0], COLS, TALL, ROW) + _halves(parts[1], COLS, TALL, ROW)
        parts = a + _halves(parts[2], COLS, TALL, ROW) + _halves(parts[3], COLS, TALL, ROW)
    return parts


@gluon.jit
def _of_numbers(acc, corrections, edges, y, x, c, size, TALL: gl.constexpr, REST: gl.constexpr, WIDE: gl.constexpr):
    """Adds, at each lane of a tile `[COLS, TALL, REST / WIDE, WIDE]`, what its class of pixels has (`borders.py`)."""
    height, width, cols = size
    top, last_row, left, last_column = edges
    if (y >= top) & (y + TALL - 1 <= last_row) & (x >= left) & (x + WIDE - 1 <= last_column):
        acc += gl.expand_dims(gl.load(corrections + c, mask=c < cols, other=0), 1)
    else:
        p = gl.arange(0, TALL * REST, layout=gl.SliceLayout(0, acc.type.layout))
        row = gl.minimum(y + p // REST, height - 1)
        column = gl.minimum(x + p % WIDE, width - 1)
        row = gl.minimum(row, top) + gl.maximum(row - last_row, 0)
        column = gl.minimum(column, left) + gl.maximum(column - last_column, 0)
        place = 1 + row * (left + width - last_column) + column
        channel = gl.expand_dims(c, 1)
        acc += gl.load(corrections + gl.expand_dims(place, 0) * cols + channel, mask=channel < cols, other=0)
    return acc


@gluon.jit
def _put(target, t, n, y, x, col, slots, first, TALL: gl.constexpr, PANELS: gl.constexpr, PANEL: gl.constexpr):
    """Writes a step of a tile from shared memory."""
    for i in gl.static_range(PANELS * TALL):
        place = [t, n, y + i % TALL, x, col + i // TALL * PANEL]
        tma.async_copy_shared_to_global(target, place, slots.index(first + i))


@gluon.jit
def _multiply(
    out,
    scale,
    bias,
    current,
    corrections,
    rows,
    taps,
    fired,
    slots,
    ready,
    free,
    filled,
    emptied,
    tiles,
    size,
    neuron,
    rounding,
    edges,
    T: gl.constexpr,
    CHANNELS: gl.constexpr,
    KERNEL: gl.constexpr,
    STRIDE: gl.constexpr,
    PAD: gl.constexpr,
    STAGES: gl.constexpr,
    TALL: gl.constexpr,
    SLOTS: gl.constexpr,
    SCALE: gl.constexpr,
    BIAS: gl.constexpr,
    RESIDUAL: gl.constexpr,
    WANT_CURRENT: gl.constexpr,
    LIMITED: gl.constexpr,
    ROUND: gl.constexpr,
    LESS: gl.constexpr,
    OUT: gl.constexpr,
    BESIDE: gl.constexpr,
    LEAK: gl.constexpr,
    DECAY_INPUT: gl.constexpr,
    HARD: gl.constexpr,
    REGISTERS: gl.constexpr,
):
    """The sums of the stages that are ready, and the neuron of all steps; `size` is that of an output's image."""
    STEPS: gl.constexpr = rows.shape[1]
    IMAGES: gl.constexpr = rows.shape[2]
    WIDE: gl.constexpr = rows.shape[4]
    COLS: gl.constexpr = taps.shape[1]
    BLOCK_K: gl.constexpr = taps.shape[2]
    PIXELS: gl.constexpr = TALL * IMAGES * WIDE
    LANES: gl.constexpr = PIXELS * STEPS
    BITS: gl.constexpr = rows.dtype.primitive_bitwidth
    MOST: gl.constexpr = 2 * _LANES if BITS == 16 and REGISTERS >= _ENOUGH else _LANES
    MMA: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [gl.num_warps(), 1], [16, min(LANES, MOST), 256 // BITS])
    OUT_FLAT: gl.constexpr = gl.NVMMASharedLayout(out.layout.swizzle_byte_width, out.layout.element_bitwidth, rank=2)
    SLOT_FLAT: gl.constexpr = gl.NVMMASharedLayout(
        slots.layout.swizzle_byte_width, slots.layout.element_bitwidth, rank=2
    )
    # Rows of a tile's pixels have at most 128 bytes a pixel: further channels are panels of their own.
    OUT_PANELS: gl.constexpr = COLS // fired.shape[5]
    PANELS: gl.constexpr = COLS // slots.shape[5]
    ROWS_OF_SLOT: gl.constexpr = PANELS * TALL
    _, _, cols = size
    factor, threshold, v_reset = neuron
    spacing, inverse, low, high, least = rounding
    grid = (spacing, inverse, low, high)
    stage = 0
    phase = 0
    slot = 0
    slot_phase = 0
    tile = gl.program_id(0)
    for _ in range(0, count_of(tiles)):
        n, y, x, col = tile_at(tile, size, TALL, WIDE, IMAGES, COLS)
        acc, stage, phase = sums_of(
            rows,
            taps,
            ready,
            free,
            stage,
            phase,
            MMA,
            KERNEL,
            STRIDE,
            PAD,
            TALL,
            (CHANNELS + BLOCK_K - 1) // BLOCK_K * KERNEL,
            STAGES,
        )
        if LESS:
            c = col + gl.arange(0, COLS, layout=gl.SliceLayout(1, MMA))
            acc = _of_numbers(acc, corrections, edges, y, x, c, size, TALL, LANES // TALL, WIDE)
        sums = _apart(acc, STEPS, COLS, TALL, IMAGES * WIDE)
        LAYOUT: gl.constexpr = sums[0].type.layout
        c = col + gl.arange(0, COLS, layout=gl.SliceLayout(1, LAYOUT))
        if SCALE:
            scale_of = gl.expand_dims(gl.load(scale + c, mask=c < cols, other=0.0), 1)
        if BIAS:
            bias_of = gl.expand_dims(gl.load(bias + c, mask=c < cols, other=0.0), 1)
        v = gl.full([COLS, PIXELS], 0.0, gl.float32, layout=LAYOUT)
        if HARD == 1:
            v += v_reset
        for t in gl.static_range(T):
            z = sums[t].to(gl.float32)
            if SCALE:
                z = mul_rn(z, scale_of)
            if BIAS:
                z = z + bias_of
            passing = (
                slots.index(slot * ROWS_OF_SLOT)._reinterpret(slots.dtype, [PIXELS, COLS], SLOT_FLAT).permute((1, 0))
            )
            if RESIDUAL or BESIDE:
                mbarrier.wait(filled.index(slot), slot_phase)
                added = passing.load(LAYOUT)
                if RESIDUAL:
                    z = z + added.to(gl.float32)
            if ROUND == 2:
                z = on_grid(z, grid)
            shown = z
            if LIMITED:
                shown = gl.maximum(z, least)
            if OUT >= OUT_LEVELS:
                found = levels_out(z, grid, OUT).to(out.dtype)
            else:
                if ROUND == 1:
                    z = on_grid(z, grid)
                h = charge(z, v, factor, v_reset, LEAK, DECAY_INPUT, HARD)
                one = gl.full([COLS, PIXELS], 1, gl.int32, layout=LAYOUT)
                v, bits = fire_bits(h, one, threshold, v_reset, HARD)
                found = bits.to(out.dtype)
                if BESIDE:
                    found = found + added
            tma.store_wait(0)  # what the step before has put out has been read
            if (RESIDUAL or BESIDE) and t > 0:
                gl.thread_barrier()
                mbarrier.arrive(emptied.index((slot + SLOTS - 1) % SLOTS), count=1)
            if BESIDE:
                passing.store(found)
            else:
                first = fired.index(t % 2 * TALL * OUT_PANELS)
                first._reinterpret(out.dtype, [PIXELS, COLS], OUT_FLAT).permute((1, 0)).store(found)
            if WANT_CURRENT:
                passing.store(shown.to(slots.dtype))
            fence_async_shared()
            if BESIDE:
                _put(out, t, n, y, x, col, slots, slot * ROWS_OF_SLOT, TALL, PANELS, COLS // PANELS)
            else:
                place = t % 2 * TALL * OUT_PANELS
                _put(out, t, n, y, x, col, fired, place, TALL, OUT_PANELS, COLS // OUT_PANELS)
            if WANT_CURRENT:
                _put(current, t, n, y, x, col, slots, slot * ROWS_OF_SLOT, TALL, PANELS, COLS // PANELS)
            slot += 1
            if slot == SLOTS:
                slot = 0
                slot_phase ^= 1
        if RESIDUAL or BESIDE:
            tma.store_wait(0)
            gl.thread_barrier()
            mbarrier.arrive(emptied.index((slot + SLOTS - 1) % SLOTS), count=1)
        tile += gl.num_programs(0)
    tma.store_wait(0)


@writes("spikes", current="WANT_CURRENT")
@Function
def spike_conv_lif_rows_kernel(
    view,
    odd,
    weight,
    scale,
    bias,
    shortcut,
    spikes,
    current,
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
    T: gl.constexpr,
    CHANNELS: gl.constexpr,
    KERNEL: gl.constexpr,
    STRIDE: gl.constexpr,
    PAD: gl.constexpr,
    LEAK: gl.constexpr,
    DECAY_INPUT: gl.constexpr,
    HARD: gl.constexpr,
    SCALE: gl.constexpr,
    BIAS: gl.constexpr,
    RESIDUAL: gl.constexpr,
    RESIDUAL_STEPS: gl.constexpr,
    WANT_CURRENT: gl.constexpr,
    LIMITED: gl.constexpr,
    ROUND: gl.constexpr,
    LESS: gl.constexpr,
    OUT: gl.constexpr,
    BESIDE: gl.constexpr,
    TALL: gl.constexpr,
    STAGES: gl.constexpr,
    REGISTERS: gl.constexpr,
    PROCESSORS: gl.constexpr,
):
    """Tiles of the output of a convolution of stride 1 or 2, one after another where there are fewer programs.

    view: Descriptor of one row of a tile's pixels, `[steps, images, 1, WIDE, BLOCK_K]`. Of stride 2 it is one of the
        even rows, of pixels that are two neighbours, and `odd` one of the others; else `odd` is not read.
    weight: Of `[COLS, BLOCK_K]` of `[cols, taps]`.
    spikes: Of one row of one step of the output, `[1, images, 1, WIDE, COLS]`, or of a part of the channels, of 128
        bytes a pixel.
    shortcut: As `spikes`, of the residual or of what is added to the spikes.
    current: As `shortcut`, whose type it has where there is a residual.
    STAGES: Blocks of the sum that are in shared memory: the rows that a column's taps meet, and the weights of these.
    REGISTERS: A thread has, on average (`gluon_source.py`): as many that all programs of a multiprocessor fit.
    PROCESSORS: Of the GPU, where launches overlap; else 0. Processes that compile cannot ask it.
    """
    await_before(PROCESSORS)
    ROWS: gl.constexpr = STRIDE * (TALL - 1) + KERNEL
    views = (view,)
    if STRIDE == 2:
        views = (view, odd)
    COLS: gl.constexpr = weight.block_shape[0]
    SLOTS: gl.constexpr = min(T, 2)
    rows = gl.allocate_shared_memory(view.dtype, [STAGES * ROWS] + view.block_shape, view.layout)
    taps = gl.allocate_shared_memory(weight.dtype, [STAGES * KERNEL] + weight.block_shape, weight.layout)
    ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    filled = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    emptied = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(STAGES):
        mbarrier.init(ready.index(i), count=1)
        mbarrier.init(free.index(i), count=1)
    for i in gl.static_range(SLOTS):
        mbarrier.init(filled.index(i), count=1)
        mbarrier.init(emptied.index(i), count=1)
    # What is put out, and what comes and goes beside it: the sum with a shortcut takes the shortcut's place.
    fired = slots_of(spikes, SLOTS * TALL, COLS)
    slots = fired
    if RESIDUAL:
        slots = slots_of(shortcut, SLOTS * TALL, COLS)
    elif WANT_CURRENT:
        slots = slots_of(current, SLOTS * TALL, COLS)
    fence_async_shared()
    size = (out_height, out_width, cols)
    neuron = (tl.cast(factor, tl.float32), tl.cast(threshold, tl.float32), tl.cast(v_reset, tl.float32))
    rounding = (
        tl.cast(spacing, tl.float32),
        tl.cast(inverse, tl.float32),
        tl.cast(low, tl.float32),
        tl.cast(high, tl.float32),
        tl.cast(least, tl.float32),
    )
    edges = (top, last_row, left, last_column)
    # Given as they are, because constants in a tuple with a name become numbers of the kernel.
    gl.warp_specialize(
        [
            (
                _multiply,
                (
                    spikes,
                    scale,
                    bias,
                    current,
                    corrections,
                    rows,
                    taps,
                    fired,
                    slots,
                    ready,
                    free,
                    filled,
                    emptied,
                    tiles,
                    size,
                    neuron,
                    rounding,
                    edges,
                    T,
                    CHANNELS,
                    KERNEL,
                    STRIDE,
                    PAD,
                    STAGES,
                    TALL,
                    SLOTS,
                    SCALE,
                    BIAS,
                    RESIDUAL,
                    WANT_CURRENT,
                    LIMITED,
                    ROUND,
                    LESS,
                    OUT,
                    BESIDE,
                    LEAK,
                    DECAY_INPUT,
                    HARD,
                    REGISTERS,
                ),
            ),
            (load, (views, weight, rows, taps, ready, free, tiles, size, CHANNELS, KERNEL, STRIDE, PAD, STAGES, TALL)),
            (
                fetch,
                (
                    shortcut,
                    slots,
                    filled,
                    emptied,
                    tiles,
                    size,
                    RESIDUAL or BESIDE,
                    T,
                    RESIDUAL_STEPS,
                    TALL,
                    COLS,
                    SLOTS,
                ),
            ),
        ],
        [1, 1],
        [40, 40],
    )
