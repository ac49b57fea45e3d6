"""Triton functions for the sums of a convolution's tile: boxes of spikes at each tap, by tensor descriptors."""

import triton
import triton.language as tl

from neurokit.kernels.common.triton import empty_sum


@triton.jit
def boxes_of(
    base,
    batch,
    height,
    width,
    step_stride,
    image_stride,
    row_stride,
    column_stride,
    channels,
    T: tl.constexpr,
    STEPS: tl.constexpr,
    IMAGES: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The descriptor of boxes of `[T, B, H, W, C]`; what lies outside reads as zero and is not written."""
    return tl.make_tensor_descriptor(
        base,
        [T, batch, height, width, channels],
        [step_stride, image_stride, row_stride, column_stride, 1],
        [STEPS, IMAGES, TALL, WIDE, BLOCK],
    )


@triton.jit
def _multiply(
    view, weight, acc, n, y, x, c, shift, col, tap, CHANNELS: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr
):
    """Adds one block of channels at one tap. Behind the last channel the spikes are zero, whatever the weight is."""
    spikes = tl.reshape(view.load([0, n, y, x, shift + c]), (LANES, BLOCK))
    return tl.dot(weight.load([col, tap * CHANNELS + c]), spikes.T, acc, out_dtype=acc.dtype)


@triton.jit
def _taps(
    acc,
    view,
    tail,
    weight,
    weight_tail,
    n,
    y,
    x,
    col,
    first,
    part,
    PARTS: tl.constexpr,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    TOP: tl.constexpr,
    LEFT: tl.constexpr,
    CHANNELS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    PAIRED: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TAIL_K: tl.constexpr,
):
    """Adds the taps (TOP + i STRIDE, LEFT + j STRIDE), DOWN x ACROSS of them, of which the first meets (y, x).

    PAIRED: every column's tap, (TOP + i STRIDE, j), of which the middle one meets x.
    first: Of a pixel's channels that the taps meet.
    part: Which of PARTS equal parts of them.
    """
    FULL: tl.constexpr = CHANNELS // BLOCK_K if TAIL_K else (CHANNELS + BLOCK_K - 1) // BLOCK_K
    # With a tail all blocks of a tap are one round, which is of two sizes; else a round is one block.
    ROUNDS: tl.constexpr = 1 if TAIL_K else FULL
    COUNT: tl.constexpr = DOWN * ACROSS * ROUNDS // PARTS
    tl.static_assert(COUNT * PARTS == DOWN * ACROSS * ROUNDS)
    for step in range(0, COUNT):
        i = step + part * COUNT
        dy = i // ROUNDS // ACROSS
        dx = i // ROUNDS % ACROSS
        row = (TOP + dy * STRIDE) * COLUMNS
        if PAIRED:
            tap = row + dx
            at = x + (dx + PAD) // 2 - PAD
            shift = first + (dx + PAD) % 2 * CHANNELS
        else:
            tap = row + LEFT + dx * STRIDE
            at = x + dx
            shift = first
        if TAIL_K == 0:
            c = i % ROUNDS * BLOCK_K
            acc = _multiply(view, weight, acc, n, y + dy, at, c, shift, col, tap, CHANNELS, LANES, BLOCK_K)
        else:
            for j in tl.static_range(FULL):
                c = j * BLOCK_K
                acc = _multiply(view, weight, acc, n, y + dy, at, c, shift, col, tap, CHANNELS, LANES, BLOCK_K)
            c = FULL * BLOCK_K
            acc = _multiply(tail, weight_tail, acc, n, y + dy, at, c, shift, col, tap, CHANNELS, LANES, TAIL_K)
    return acc


@triton.jit
def convolve(
    views,
    tails,
    weight,
    weight_tail,
    n,
    y,
    x,
    col,
    first,
    part,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    KERNEL: tl.constexpr,
    COLUMNS: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    PAIRED: tl.constexpr,
    INTEGER: tl.constexpr,
    COLS: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TAIL_K: tl.constexpr,
):
    """The sums `[COLS, STEPS * pixels]` of a tile whose first output pixel is (y, x) of image n.

    The kernel is KERNEL rows of COLUMNS taps. With more than one of PARTS it is one part of each lattice's sum.
    """
    acc = empty_sum(INTEGER, COLS, LANES)
    # The taps that meet a lattice are every STRIDE-th from the first, whose pixel is this far off.
    if PAIRED:
        for p in tl.static_range(STRIDE):
            acc = _taps(
                acc,
                views[p],
                tails[p],
                weight,
                weight_tail,
                n,
                y - (PAD + p - (p + PAD) % STRIDE) // STRIDE,
                x,
                col,
                first,
                part,
                PARTS,
                (KERNEL - (p + PAD) % STRIDE + STRIDE - 1) // STRIDE,
                COLUMNS,
                (p + PAD) % STRIDE,
                0,
                CHANNELS,
                COLUMNS,
                STRIDE,
                PAD,
                PAIRED,
                LANES,
                BLOCK_K,
                TAIL_K,
            )
    else:
        for p in tl.static_range(STRIDE * STRIDE):
            acc = _taps(
                acc,
                views[p],
                tails[p],
                weight,
                weight_tail,
                n,
                y - (PAD + p // STRIDE - (p // STRIDE + PAD) % STRIDE) // STRIDE,
                x - (PAD + p % STRIDE - (p % STRIDE + PAD) % STRIDE) // STRIDE,
                col,
                first,
                part,
                PARTS,
                (KERNEL - (p // STRIDE + PAD) % STRIDE + STRIDE - 1) // STRIDE,
                (COLUMNS - (p % STRIDE + PAD) % STRIDE + STRIDE - 1) // STRIDE,
                (p // STRIDE + PAD) % STRIDE,
                (p % STRIDE + PAD) % STRIDE,
                CHANNELS,
                COLUMNS,
                STRIDE,
                PAD,
                PAIRED,
                LANES,
                BLOCK_K,
                TAIL_K,
            )
    return acc
