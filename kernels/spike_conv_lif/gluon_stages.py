"""Gluon functions of the convolution by rows that fill shared memory, and those that add up what is there."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_init,
    warpgroup_mma_wait,
)


@gluon.constexpr_function
def taps_on(lattice, kernel, stride, padding):
    """How many of a column's taps meet the lattice of every stride-th row of pixels, from this one on."""
    return (kernel - (lattice + padding) % stride + stride - 1) // stride


@gluon.constexpr_function
def above(lattice, stride, padding):
    """How many rows of the lattice the first of these taps is above a tile's."""
    return (padding + lattice - (lattice + padding) % stride) // stride


@gluon.constexpr_function
def first_of(lattice, tall, kernel, stride, padding):
    """Where in a stage the rows of a lattice begin, behind those of the one before."""
    return lattice * (tall + taps_on(0, kernel, stride, padding) - 1)


@gluon.constexpr_function
def row_of(down, tall, kernel, stride, padding):
    """The first row in a stage that a tap meets."""
    return first_of((down + (stride - 1) * padding) % stride, tall, kernel, stride, padding) + down // stride


@gluon.jit
def tile_at(tile, size, TALL: gl.constexpr, WIDE: gl.constexpr, IMAGES: gl.constexpr, COLS: gl.constexpr):
    """First image, row, column and channel of a tile; tiles of the same pixels follow each other."""
    height, width, cols = size
    col_blocks = (cols + COLS - 1) // COLS
    across = (width + WIDE - 1) // WIDE
    down = (height + TALL - 1) // TALL
    block = tile // col_blocks
    return (
        block // (across * down) * IMAGES,
        block // across % down * TALL,
        block % across * WIDE,
        tile % col_blocks * COLS,
    )


@gluon.jit
def count_of(tiles):
    """How many of the tiles are this program's."""
    return (tiles - gl.program_id(0) + gl.num_programs(0) - 1) // gl.num_programs(0)


@gluon.jit
def slots_of(target, ROWS: gl.constexpr, COLS: gl.constexpr):
    """Shared memory of so many rows of a tile's pixels, of all its channels."""
    PANELS: gl.constexpr = COLS // target.block_shape[4]
    return gl.allocate_shared_memory(target.dtype, [ROWS * PANELS] + target.block_shape, target.layout)


@gluon.jit
def load(
    views,
    weight,
    rows,
    taps,
    ready,
    free,
    tiles,
    size,
    CHANNELS: gl.constexpr,
    KERNEL: gl.constexpr,
    STRIDE: gl.constexpr,
    PAD: gl.constexpr,
    STAGES: gl.constexpr,
    TALL: gl.constexpr,
):
    """Keeps the stages filled: rows of pixels at one column's taps, and the weight of these, of a block of channels.

    Of stride 2 the even and the odd rows are views of their own, of which two neighbours are one pixel.
    """
    BLOCK_K: gl.constexpr = views[0].block_shape[4]
    COLS: gl.constexpr = weight.block_shape[0]
    IMAGES: gl.constexpr = views[0].block_shape[1]
    WIDE: gl.constexpr = views[0].block_shape[3]
    ROWS: gl.constexpr = STRIDE * (TALL - 1) + KERNEL
    NUMBERS: gl.constexpr = (ROWS * views[0].block_shape[0] * IMAGES * WIDE + KERNEL * COLS) * BLOCK_K
    BYTES: gl.constexpr = NUMBERS * views[0].dtype.primitive_bitwidth // 8
    stage = 0
    phase = 1
    tile = gl.program_id(0)
    for _ in range(0, count_of(tiles)):
        n, y, x, col = tile_at(tile, size, TALL, WIDE, IMAGES, COLS)
        for i in range(0, (CHANNELS + BLOCK_K - 1) // BLOCK_K * KERNEL):
            c = i // KERNEL * BLOCK_K
            across = i % KERNEL
            mbarrier.wait(free.index(stage), phase)
            bar = ready.index(stage)
            mbarrier.expect(bar, BYTES)
            column = x - PAD + across
            shift = c
            if STRIDE == 2:
                column = x - PAD + (across + PAD) // 2
                shift = (across + PAD) % 2 * CHANNELS + c
            for lattice in gl.static_range(STRIDE):
                for row in gl.static_range(TALL + taps_on(lattice, KERNEL, STRIDE, PAD) - 1):
                    place = [0, n, y - above(lattice, STRIDE, PAD) + row, column, shift]
                    held = rows.index(stage * ROWS + first_of(lattice, TALL, KERNEL, STRIDE, PAD) + row)
                    tma.async_copy_global_to_shared(views[lattice], place, bar, held)
            for down in gl.static_range(KERNEL):
                place = [col, (down * KERNEL + across) * CHANNELS + c]
                tma.async_copy_global_to_shared(weight, place, bar, taps.index(stage * KERNEL + down))
            stage += 1
            if stage == STAGES:
                stage = 0
                phase ^= 1
        tile += gl.num_programs(0)


@gluon.jit
def fetch(
    shortcut,
    slots,
    filled,
    emptied,
    tiles,
    size,
    ADDED: gl.constexpr,
    T: gl.constexpr,
    STEPS: gl.constexpr,
    TALL: gl.constexpr,
    COLS: gl.constexpr,
    SLOTS: gl.constexpr,
):
    """Keeps the slots filled with what is added at each step, a tile's pixels in panels of a box's channels.

    ADDED: whether anything is.
    STEPS: Of what is added; 1 where every step adds the same.
    """
    if ADDED:
        IMAGES: gl.constexpr = shortcut.block_shape[1]
        WIDE: gl.constexpr = shortcut.block_shape[3]
        PANEL: gl.constexpr = shortcut.block_shape[4]
        PANELS: gl.constexpr = COLS // PANEL
        BYTES: gl.constexpr = TALL * IMAGES * WIDE * COLS * shortcut.dtype.primitive_bitwidth // 8
        slot = 0
        phase = 1
        tile = gl.program_id(0)
        for _ in range(0, count_of(tiles)):
            n, y, x, col = tile_at(tile, size, TALL, WIDE, IMAGES, COLS)
            for t in range(0, T):
                mbarrier.wait(emptied.index(slot), phase)
                bar = filled.index(slot)
                mbarrier.expect(bar, BYTES)
                for i in gl.static_range(PANELS * TALL):
                    place = [t if STEPS > 1 else 0, n, y + i % TALL, x, col + i // TALL * PANEL]
                    tma.async_copy_global_to_shared(shortcut, place, bar, slots.index(slot * (PANELS * TALL) + i))
                slot += 1
                if slot == SLOTS:
                    slot = 0
                    phase ^= 1
            tile += gl.num_programs(0)


@gluon.jit
def sums_of(
    rows,
    taps,
    ready,
    free,
    stage,
    phase,
    LAYOUT: gl.constexpr,
    KERNEL: gl.constexpr,
    STRIDE: gl.constexpr,
    PAD: gl.constexpr,
    TALL: gl.constexpr,
    BLOCKS: gl.constexpr,
    STAGES: gl.constexpr,
):
    """The sums `[COLS, lanes]` of a tile, and the stage and phase behind them.

    The rows of a lattice follow each other, so that those its next tap meets are the same memory, one row on. Of int8
    the sums are int32, of 16 bits float32.
    """
    SUM: gl.constexpr = gl.int32 if rows.dtype == gl.int8 else gl.float32
    COLS: gl.constexpr = taps.shape[1]
    BLOCK_K: gl.constexpr = taps.shape[2]
    ROWS: gl.constexpr = STRIDE * (TALL - 1) + KERNEL
    LANES: gl.constexpr = TALL * rows.shape[1] * rows.shape[2] * rows.shape[4]
    acc = warpgroup_mma_init(gl.full([COLS, LANES], 0, SUM, layout=LAYOUT))
    for i in range(0, BLOCKS):
        mbarrier.wait(ready.index(stage), phase)
        for down in gl.static_range(KERNEL):
            first = rows.index(stage * ROWS + row_of(down, TALL, KERNEL, STRIDE, PAD))
            pixels = first._reinterpret(rows.dtype, [LANES, BLOCK_K], taps.layout)
            acc = warpgroup_mma(taps.index(stage * KERNEL + down), pixels.permute((1, 0)), acc, is_async=True)
        acc = warpgroup_mma_init(warpgroup_mma_wait(KERNEL, deps=[acc]))
        if i > 0:  # the products of the stage before have ended, in all warps
            gl.thread_barrier()
            mbarrier.arrive(free.index((stage + STAGES - 1) % STAGES), count=1)
        stage += 1
        if stage == STAGES:
            stage = 0
            phase ^= 1
    acc = warpgroup_mma_wait(0, deps=[acc])
    gl.thread_barrier()
    mbarrier.arrive(free.index((stage + STAGES - 1) % STAGES), count=1)
    return acc, stage, phase
