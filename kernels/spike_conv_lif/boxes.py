"""Launches the convolution through tensor descriptors: what it takes, how its boxes are chosen, its arguments."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, lend_scratch
from neurokit.kernels.common.descriptors import described
from neurokit.kernels.common.layout import hint, one_step, power_of_two, repeats_one_step
from neurokit.kernels.common.neuron import leak_arguments, reset_kind
from neurokit.kernels.common.product import LEVELS, form_number, rounding
from neurokit.kernels.dispatch import capability
from neurokit.kernels.spike_conv_lif import splits
from neurokit.kernels.spike_conv_lif.borders import arguments as border_arguments
from neurokit.kernels.spike_conv_lif.lattices import arguments
from neurokit.kernels.spike_conv_lif.place import Place, aligned, folds

NAME = "spike_conv_lif_boxes"
MAX_STEPS = 8
# Types of 16 bits that it takes; the interpreter's products of bfloat16 are wrong.
HALVES = (torch.float16,) if INTERPRET else (torch.float16, torch.bfloat16)
# Lanes of one matrix instruction of Hopper: steps x pixels that share a block of the weight.
LANES = 256
# Of output channels: residual and current, of two bytes or more, may go by descriptors, and spikes else by pointers.
COLUMNS = 8
# Bytes of a program of so many warps, so that two of four or one of eight fit on a multiprocessor of compute capability
# 9.0, less what spikes and barriers take (228 KB, CUDA C programming guide).
SHARED = {4: 108_000, 8: 220_000}
# Below this many neurons of one step, smaller tiles keep all multiprocessors busy.
FEW = 2**21
# Below this many, as in most layers of one image, there are fewer tiles than multiprocessors.
SINGLE = 2**19


def obstacle(spikes: Tensor, weight: Tensor, stride: int, padding: int, form: str) -> str:
    """Returns why the kernel through tensor descriptors cannot take a call, or ""."""
    half = spikes.dtype == weight.dtype and weight.dtype in HALVES and form in ("int8", "same", *LEVELS)
    if not half and not (spikes.dtype == weight.dtype == torch.int8 and form in ("int8", *LEVELS)):
        return (
            f"spikes are {spikes.dtype}, the weight {weight.dtype}, the form {form!r}; "
            f"all must be int8, or the first two {' or '.join(str(kind).removeprefix('torch.') for kind in HALVES)}"
        )
    if spikes.shape[0] > MAX_STEPS:
        return f"there are {spikes.shape[0]} steps, more than {MAX_STEPS}"
    if weight.shape[0] % COLUMNS:
        return f"{weight.shape[0]} output channels are no multiple of {COLUMNS}"
    if not folds(weight, stride, padding) and (stride > 2 or min(spikes.shape[2:4]) < stride):
        return f"stride {stride} over {spikes.shape[2]} x {spikes.shape[3]} pixels"
    if not INTERPRET and capability(spikes.device) < (9, 0):
        return "the GPU has no tensor descriptors (compute capability below 9.0)"
    return ""


def key_of(spikes: Tensor, weight: Tensor, stride: int, out: Tensor) -> tuple[object, ...]:
    """Returns what the best launch parameters depend on; few neurons, and those of one image, are their own cases.

    Numbers of bfloat16 move and multiply as those of float16 do.
    """
    cols, kernel, _, channels = weight.shape
    pixels = hint(out.shape[1]) * hint(out.shape[2]) * hint(out.shape[3])
    found = key(spikes.shape[0], hint(out.shape[2]), channels, cols, kernel, stride, pixels)
    return typed(found, weight.dtype)


def typed(known: tuple[object, ...], dtype: torch.dtype) -> tuple[object, ...]:
    """Returns the key of an output whose weight is of a type, of that of an int8 one."""
    return known if dtype == torch.int8 else (*known, "float16")


def key(steps: int, height: int, channels: int, cols: int, kernel: int, stride: int, pixels: int) -> tuple[object, ...]:
    """Returns `key_of` an int8 output of so many rows, and pixels of one step."""
    return (steps, height, channels, cols, kernel, stride, crowd(pixels * cols))


def crowd(neurons: int) -> str:
    """Returns in what words so many neurons of a step are a part of a key: "many", "few" or "single"."""
    return "many" if neurons >= FEW else "few" if neurons >= SINGLE else "single"


def default(steps: int, batch: int, height: int, width: int, channels: int, cols: int, size: int = 1) -> config.Config:
    """Returns parameters for an output that was not measured: boxes that divide it best.

    Args:
        steps: T.
        batch: Images.
        height: Rows of the output.
        width: Its columns.
        channels: Input channels.
        cols: Output channels.
        size: Bytes of a number.
    """
    few, single = (batch * height * width * cols < limit for limit in (FEW, SINGLE))
    # Two programs of four warps fill each other's gaps: what won at most shapes on an H200.
    block, lanes = (64, LANES) if 0 < cols % 128 <= 64 else (128, LANES // 2)
    if few:
        block, lanes = 64, LANES // (8 if single else 2)
    pixels = max(1, lanes // padded_steps(steps))
    images, tall, wide = divide(pixels, batch, height, width)
    block_k, tail_k = blocks_of(channels) if size == 1 else (min(64, power_of_two(channels)), 0)
    return {
        "images": images,
        "tall": tall,
        "wide": wide,
        "cols": block,
        "block_k": block_k,
        "tail_k": tail_k,
        "waves": 0 if few else 2,
        "splits": 1,
        "num_warps": 4,
        "num_stages": min(6, SHARED[4] // ((block + lanes) * (block_k + tail_k) * size)),
    }


def stages(chosen: config.Config, steps: int, size: int, beside: int) -> int:
    """Returns how many blocks of the sum are in flight where a step's residual, or current, is in shared memory, too.

    Args:
        chosen: The launch parameters.
        steps: T.
        size: Bytes of a number of the product.
        beside: Bytes of one of the residual or of the current, the larger one; 0 where there is neither.
    """
    pixels, block = _pixels_and_block(chosen, steps, size)
    left = SHARED.get(chosen["num_warps"], SHARED[4]) - pixels * chosen["cols"] * beside
    return int(min(chosen["num_stages"], max(2, left // block))) if beside else int(chosen["num_stages"])


def fits(chosen: config.Config, steps: int, size: int, both: tuple[int, int]) -> bool:
    """Returns whether a step's residual and current fit into shared memory beside two blocks of the sum.

    Args:
        chosen: The launch parameters.
        steps: T.
        size: Bytes of a number of the product.
        both: Bytes of a number of the residual and of the current; 0 where there is none.
    """
    pixels, block = _pixels_and_block(chosen, steps, size)
    return bool(pixels * chosen["cols"] * (sum(both) + size) + 2 * block <= SHARED[8])


def _pixels_and_block(chosen: config.Config, steps: int, size: int) -> tuple[int, int]:
    """Returns the pixels of a box, and the bytes of a block of the sum: of the weight's and of the spikes' numbers."""
    pixels = chosen["images"] * chosen["tall"] * chosen["wide"]
    return pixels, (chosen["cols"] + pixels * padded_steps(steps)) * (chosen["block_k"] + chosen["tail_k"]) * size


def padded_steps(steps: int) -> int:
    """Returns the steps of a box: a power of two; steps that do not exist read as zero."""
    return power_of_two(steps)


def divide(pixels: int, batch: int, height: int, width: int) -> tuple[int, int, int]:
    """Returns (images, rows, columns) of a box of so many pixels, of those that leave the fewest lanes idle.

    Among equals that one wins whose taps meet the fewest pixels: the squarest of one image.
    """
    sides = [1 << i for i in range(pixels.bit_length())]
    choices = [(pixels // (t * w), t, w) for t, w in itertools.product(sides, sides) if t * w <= pixels]

    def cost(box: tuple[int, int, int]) -> tuple[int, int, int]:
        covered = 1
        for side, size in zip(box, (batch, height, width), strict=True):
            covered *= -(-size // side) * side
        # Beside a box's own pixels its outermost taps meet those around it.
        return covered, box[0] * (box[1] + 2) * (box[2] + 2), box[1]

    return min(choices, key=cost)


def blocks_of(channels: int) -> tuple[int, int]:
    """Returns the block of a multiple of 32 channels, and a smaller one for what is left behind the last (or 0)."""
    if channels in (32, 96):
        return (32, 0) if channels == 32 else (64, 32)
    return (64, 0) if channels % 128 and channels <= 256 else (128, 0)


def tiles_of(size: Sequence[Any], cols: int, chosen: config.Config, groups: int = 1) -> Any:
    """Returns how many tiles an output of (images, rows, columns), which may be traced sizes, and channels has.

    No tile is of two groups of channels.
    """
    tiles: Any = groups * -(-(cols // groups) // chosen["cols"])
    for whole, side in zip(size, ("images", "tall", "wide"), strict=True):
        tiles = tiles * ((whole + chosen[side] - 1) // chosen[side])
    return tiles


def pairs(stride: int, width: Any, channels: int, chosen: config.Config) -> bool:
    """Returns whether two neighbours in a row are read as one pixel of twice the channels."""
    return bool(stride == 2 and width % 2 == 0 and channels % chosen["block_k"] == chosen["tail_k"])


def preferred(looked_up: tuple[object, ...], device: torch.device, default: str) -> str:
    """Returns the path that was measured faster, "boxes" or "fused", or the default where none was measured."""
    path: str = config.lookup(NAME, looked_up, device, {}).get("path", default)
    return path


def run(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    outputs: tuple[Tensor, Tensor],
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    form: str = "int8",
    least: float | None = None,
    corrections: Tensor | None = None,
    beside: Tensor | None = None,
) -> None:
    """Fills the spikes (or levels) and, where it has elements, the current of a convolution with its neuron.

    What is `beside` the spikes, of their shape and type, is added to them. Spikes of a multiple of the weight's
    channels are so many groups of them, each in front of its own outputs.
    """
    from neurokit.kernels.spike_conv_lif.triton_boxes import spike_conv_lif_boxes_kernel

    out, current = outputs
    groups = spikes.shape[-1] // weight.shape[-1]
    looked_up = key_of(spikes, weight, stride, out)
    borders = border_arguments(corrections, out, spikes, weight, stride, padding)
    place = Place.folded(spikes, weight, stride, padding, out) or Place.plain(spikes, weight, stride, padding)
    spikes, weight = aligned(place.spikes), aligned(place.weight)
    steps, batch, _, width = spikes.shape[:4]
    cols, channels = weight.shape[0], place.channels
    size = (hint(batch), hint(out.shape[2]), hint(out.shape[3]))
    normal = default(steps, *size, channels, cols, weight.dtype.itemsize)
    chosen = config.lookup(NAME, looked_up, spikes.device, normal)
    tiles = tiles_of(out.shape[1:4], cols, chosen, groups)
    paired = pairs(place.stride, width, channels, chosen)
    blocks = 1 if chosen["tail_k"] else -(-channels // chosen["block_k"])
    rounds_of = splits.rounds(place.kernel, place.columns, place.stride, place.padding, paired, blocks)
    # With a tail the rounds of a part are few enough to be unrolled, for which the assembler of Triton 3.6 leaves
    # registers unset (an H200 gave wrong spikes; tests/kernels/assembly.py finds it in the code).
    parts = 1 if chosen["tail_k"] else splits.parts(chosen["splits"], tiles, rounds_of)
    lanes = padded_steps(steps) * chosen["images"] * chosen["tall"] * chosen["wide"]
    summed = torch.int32 if weight.dtype == torch.int8 else torch.float32
    partials, counters = splits.scratch(out, parts, tiles * chosen["cols"] * lanes, summed)
    tiles = tiles * parts
    one = INTERPRET or parts > 1 or not chosen["waves"] or not isinstance(tiles, int)
    programs = tiles if one else min(tiles, chosen["waves"] * config.processors(spikes.device))
    leak, factor = leak_arguments(tau, decay is not None, decay or 0.0, steps)
    # A long sum hides what a box takes to arrive, which a short one, or a tile alone on its multiprocessor, waits for.
    both = (0 if residual is None else residual.itemsize, current.itemsize if current.numel() else 0)
    through = place.kernel > 1 and hint(out[0].numel()) >= FEW and fits(chosen, steps, weight.dtype.itemsize, both)
    # A tile that ends behind its group's channels, in those of the next, is written by pointers.
    whole = groups == 1 or cols // groups % chosen["cols"] == 0
    lend_scratch(spikes)
    described(spike_conv_lif_boxes_kernel)[(programs,)](
        **arguments(spikes, weight, out, (channels, groups), place.stride, paired, padded_steps(steps), chosen, whole),
        scale=out if scale is None else scale,
        bias=out if bias is None else bias,
        residual=out if residual is None else aligned(one_step(residual)),
        current=current if current.numel() else out,
        partials=partials,
        counters=counters,
        beside=out if beside is None else beside.contiguous(),
        batch=batch,
        out_height=out.shape[2],
        out_width=out.shape[3],
        cols=cols,
        tiles=tiles,
        factor=factor,
        threshold=threshold,
        v_reset=0.0 if v_reset is None else v_reset,
        T=steps,
        CHANNELS=channels,
        GROUPS=groups,
        KERNEL=place.kernel,
        COLUMNS=place.columns,
        STRIDE=place.stride,
        PAD=place.padding,
        PAIRED=paired,
        INTEGER=weight.dtype == torch.int8,
        LEAK=leak,
        DECAY_INPUT=decay_input,
        HARD=reset_kind(v_reset),
        SCALE=scale is not None,
        BIAS=bias is not None,
        OUT=form_number(form),
        BESIDE=beside is not None,
        RESIDUAL=residual is not None,
        RESIDUAL_STEPS=1 if residual is None or repeats_one_step(residual) else steps,
        SHORTCUT_BOXES=through,
        WANT_CURRENT=current.numel() > 0,
        STEPS=padded_steps(steps),
        IMAGES=chosen["images"],
        TALL=chosen["tall"],
        WIDE=chosen["wide"],
        COLS=chosen["cols"],
        BLOCK_K=chosen["block_k"],
        TAIL_K=chosen["tail_k"],
        SPLIT=parts > 1,
        PARTS=parts,
        num_warps=chosen["num_warps"],
        num_stages=stages(chosen, steps, weight.dtype.itemsize, max(both) if through else 0),
        **rounding(grid, low, high, rounds, least),
        **borders,
    )
