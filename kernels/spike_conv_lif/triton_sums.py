"""Triton functions for the int32 sums of a convolution's tile: boxes of spikes at each tap, by tensor descriptors."""

import triton
import triton.language as tl


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
def lattices(
    x,
    batch,
    height,
    width,
    T: tl.constexpr,
    CHANNELS: tl.constexpr,
    STRIDE: tl.constexpr,
    STEPS: tl.constexpr,
    IMAGES: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A descriptor for each of STRIDE x STRIDE lattices of the input's pixels: a tap meets the pixels of one."""
    image = tl.cast(height, tl.int64) * width * CHANNELS
    views = ()
    for p in tl.static_range(STRIDE * STRIDE):
        views = views + (
            boxes_of(
                x + (p // STRIDE * width + p % STRIDE) * CHANNELS,
                batch,
                (height - p // STRIDE + STRIDE - 1) // STRIDE,
                (width - p % STRIDE + STRIDE - 1) // STRIDE,
                image * batch,
                image,
                STRIDE * width * CHANNELS,
                STRIDE * CHANNELS,
                CHANNELS,
                T,
                STEPS,
                IMAGES,
                TALL,
                WIDE,
                BLOCK,
            ),
        )
    return views


@triton.jit
def _multiply(
    view, weight, acc, n, y, x, c, col, tap, CHANNELS: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr
):
    """Adds one block of channels at one tap. Behind the last channel the spikes are zero, whatever the weight is."""
    spikes = tl.reshape(view.load([0, n, y, x, c]), (LANES, BLOCK))
    return tl.dot(weight.load([col, tap * CHANNELS + c]), spikes.T, acc, out_dtype=tl.int32)


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
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    TOP: tl.constexpr,
    LEFT: tl.constexpr,
    CHANNELS: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TAIL_K: tl.constexpr,
):
    """Adds the taps (TOP + i STRIDE, LEFT + j STRIDE), DOWN x ACROSS of them, of which the first meets (y, x)."""
    if TAIL_K == 0:
        PARTS: tl.constexpr = (CHANNELS + BLOCK_K - 1) // BLOCK_K
        for i in range(0, DOWN * ACROSS * PARTS):
            dy = i // PARTS // ACROSS
            dx = i // PARTS % ACROSS
            c = i % PARTS * BLOCK_K
            tap = (TOP + dy * STRIDE) * KERNEL + LEFT + dx * STRIDE
            acc = _multiply(view, weight, acc, n, y + dy, x + dx, c, col, tap, CHANNELS, LANES, BLOCK_K)
    else:
        FULL: tl.constexpr = CHANNELS // BLOCK_K
        for i in range(0, DOWN * ACROSS):
            dy = i // ACROSS
            dx = i % ACROSS
            tap = (TOP + dy * STRIDE) * KERNEL + LEFT + dx * STRIDE
            for j in tl.static_range(FULL):
                acc = _multiply(view, weight, acc, n, y + dy, x + dx, j * BLOCK_K, col, tap, CHANNELS, LANES, BLOCK_K)
            c = FULL * BLOCK_K
            acc = _multiply(tail, weight_tail, acc, n, y + dy, x + dx, c, col, tap, CHANNELS, LANES, TAIL_K)
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
    CHANNELS: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PAD: tl.constexpr,
    COLS: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK_K: tl.constexpr,
    TAIL_K: tl.constexpr,
):
    """The int32 sums `[COLS, STEPS * pixels]` of a tile whose first output pixel is (y, x) of image n."""
    acc = tl.zeros((COLS, LANES), tl.int32)
    for p in tl.static_range(STRIDE * STRIDE):
        # The taps that meet lattice p are every STRIDE-th from the first, whose pixel is this far off.
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
            (KERNEL - (p // STRIDE + PAD) % STRIDE + STRIDE - 1) // STRIDE,
            (KERNEL - (p % STRIDE + PAD) % STRIDE + STRIDE - 1) // STRIDE,
            (p // STRIDE + PAD) % STRIDE,
            (p % STRIDE + PAD) % STRIDE,
            CHANNELS,
            KERNEL,
            STRIDE,
            LANES,
            BLOCK_K,
            TAIL_K,
        )
    return acc
