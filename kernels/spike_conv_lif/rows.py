"""Launches the convolution by rows: what it takes, how its tiles are chosen, its arguments."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import torch
from torch import Tensor

from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET, fewest_processors
from neurokit.kernels.common.descriptors import Boxes, described
from neurokit.kernels.common.layout import hint, one_step, repeats_one_step
from neurokit.kernels.common.neuron import leak_arguments, reset_kind
from neurokit.kernels.common.product import form_number, rounding
from neurokit.kernels.spike_conv_lif import boxes
from neurokit.kernels.spike_conv_lif.borders import arguments as border_arguments
from neurokit.kernels.spike_conv_lif.lattices import STRIDE_BYTES, lattices
from neurokit.kernels.spike_conv_lif.place import Place, aligned, filled, folds

NAME = "spike_conv_lif_rows"
_TRITON = "3.6"
# Pixels beside each other of a tile, of its images: those of one step lie in one thread then, where the steps part.
BESIDE = 8
# Registers of a multiprocessor of compute capability 9.0, and those of it that a thread may have (CUDA C programming
# guide, table of technical specifications).
_REGISTERS = 65536
_MOST = 255
_ROW = 128  # bytes of the longest row of a box
# Bytes of shared memory that the programs of a multiprocessor of compute capability 9.0 may take, less 1 KB each and
# some for barriers (CUDA C programming guide).
SHARED = 228 * 1024 - 4096
# Warps of a program beside those that multiply: the one that loads, and what fills its group of four.
_LOADING = 4
_CURRENTS = (torch.float32, torch.float16, torch.bfloat16)


class Sizes(NamedTuple):
    """Bytes of a number of what a program holds in shared memory.

    Attributes:
        operand: Of spikes and weight.
        out: Of what is put out.
        wide: Of residual and current; 0 where there is neither.
    """

    operand: int
    out: int
    wide: int = 0


def obstacle(spikes: Tensor, weight: Tensor, stride: int, padding: int, form: str) -> str:
    """Returns why the kernel by rows cannot take a convolution, or ""."""
    if found := boxes.obstacle(spikes, weight, stride, padding, form):
        return found
    if INTERPRET or not gluon():
        return "Triton's interpreter knows no Gluon" if INTERPRET else f"Triton is not {_TRITON}, whose Gluon it is in"
    if boxes.capability(spikes.device)[0] != 9:
        return "the GPU has other matrix instructions than those of compute capability 9"
    if weight.shape[1] <= stride or folds(weight, stride, padding):
        return f"a kernel of {weight.shape[1]} and a stride of {stride}; rows are shared by taps above each other alone"
    if stride == 2 and spikes.shape[3] % 2:
        return f"stride 2 over {spikes.shape[3]} columns, which are no pairs"
    if weight.shape[0] * (2 if form in ("same", "levels16") else 1) % STRIDE_BYTES:
        return f"{weight.shape[0]} output channels have no descriptor"
    return ""


@cache
def gluon() -> bool:
    """Returns whether Triton is the release whose Gluon the kernel is written in; it is another in every one."""
    try:
        return version("triton").startswith(f"{_TRITON}.")
    except PackageNotFoundError:
        return False


def default(steps: int, batch: int, height: int, width: int, size: int = 1, stride: int = 1) -> config.Config:
    """Returns parameters for an output that was not measured: boxes that divide it best, of 64 channels.

    A block of the sum has 64 bytes of a pixel, so that there is room for two blocks of two programs in 16 bits, too.

    Args:
        steps: T.
        batch: Images.
        height: Rows of the output.
        width: Its columns.
        size: Bytes of a number of the product.
        stride: Of the convolution.
    """
    pixels = boxes.LANES // boxes.padded_steps(steps)
    images, tall, wide = min(tiles(pixels), key=lambda tile: cost(tile, (batch, height, width), stride))
    return {
        "images": images,
        "tall": tall,
        "wide": wide,
        "cols": 64,
        "block_k": 64 // size,
        "num_warps": 4,
        "programs": 2,
    }


def tiles(pixels: int) -> list[tuple[int, int, int]]:
    """Returns every (images, rows, columns) of a tile of so many pixels."""
    sides = [1 << i for i in range(pixels.bit_length())]
    found = [(pixels // (t * w), t, w) for t in sides for w in sides if t * w <= pixels]
    return [tile for tile in found if tile[0] * tile[2] >= BESIDE]


def cost(tile: tuple[int, int, int], size: tuple[int, int, int], stride: int = 1) -> tuple[float, int]:
    """Returns what orders tiles of an output of (images, rows, columns): what a 3x3 kernel loads, then short rows.

    Per lane, idle ones too: three columns of taps of the rows that they meet, and nine blocks of 64 channels.
    """
    covered = 1
    for side, whole in zip(tile, size, strict=True):
        covered *= -(-whole // side) * side
    return covered * (3 * rows_met(tile[1], 3, stride) / tile[1] + 9 * 64 / boxes.LANES), -tile[2]


def rows_met(tall: int, kernel: int, stride: int) -> int:
    """Returns how many rows of pixels the taps of so many rows of the output meet."""
    return stride * (tall - 1) + kernel


def shared_bytes(chosen: config.Config, steps: int, kernel: int, sizes: Sizes, stride: int = 1) -> int:
    """Returns the bytes of shared memory that a program takes.

    Args:
        chosen: Its launch parameters.
        steps: T.
        kernel: Rows of the kernel.
        sizes: Of the numbers.
        stride: Of the convolution.
    """
    row = boxes.padded_steps(steps) * chosen["images"] * chosen["wide"]
    numbers = rows_met(chosen["tall"], kernel, stride) * row + kernel * chosen["cols"]
    stage = numbers * chosen["block_k"] * sizes.operand
    ended = min(steps, 2) * chosen["images"] * chosen["tall"] * chosen["wide"] * chosen["cols"]
    return int(chosen["num_stages"] * stage + ended * (sizes.out + sizes.wide))


def fitted(chosen: config.Config, steps: int, kernel: int, sizes: Sizes, stride: int = 1) -> config.Config | None:
    """Returns launch parameters with as many blocks of the sum as there is room for, 2 to 4, or None: there is none.

    Where a multiprocessor has no room for all programs, one takes its place.

    Args:
        chosen: The launch parameters.
        steps: T.
        kernel: Rows of the kernel.
        sizes: Of the numbers.
        stride: Of the convolution.
    """
    chosen = {**chosen, "block_k": min(chosen["block_k"], _ROW // sizes.operand)}
    held, one = (shared_bytes({**chosen, "num_stages": n}, steps, kernel, sizes, stride) for n in (0, 1))
    for programs in sorted({chosen["programs"], 1}, reverse=True):
        stages = min(4, (SHARED // programs - held) // (one - held))
        if stages >= 2:
            return {**chosen, "programs": programs, "num_stages": int(stages)}
    return None


def _parameters(
    spikes: Tensor,
    weight: Tensor,
    out: Tensor,
    residual: Tensor | None,
    current: Tensor,
    beside: Tensor | None,
    stride: int,
) -> config.Config | None:
    """Returns the launch parameters, or None where a tile has no room for what goes beside the product.

    Nor are there any where a block of channels would end in a neighbour's, of pixels that are two.
    """
    wide = [x for x in (residual, current) if x is not None and x.numel()]
    kinds = {x.dtype for x in wide}
    if len(kinds) > 1 or not kinds <= {*_CURRENTS} or (wide and beside is not None):
        return None
    steps, batch, height, width, _ = out.shape
    normal = default(steps, hint(batch), hint(height), hint(width), weight.itemsize, stride)
    chosen = config.lookup(NAME, boxes.key_of(spikes, weight, stride, out), spikes.device, normal)
    sizes = Sizes(weight.itemsize, out.itemsize, wide[0].itemsize if wide else 0)
    fit = fitted(chosen, steps, weight.shape[1], sizes, stride)
    return None if fit is None or (stride == 2 and filled(weight.shape[3]) % fit["block_k"]) else fit


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

    What is `beside` the spikes, of their shape and type, is added to them.
    """
    out, current = outputs
    unfit = obstacle(spikes, weight, stride, padding, form)
    chosen = None if unfit else _parameters(spikes, weight, out, residual, current, beside, stride)
    if chosen is None:
        given = (spikes, weight, scale, bias, residual, stride, padding, tau, threshold, v_reset, decay_input, outputs)
        boxes.run(*given, grid, low, high, rounds, decay, form, least, corrections, beside)
        return
    from neurokit.kernels.spike_conv_lif.gluon_rows import spike_conv_lif_rows_kernel

    steps = spikes.shape[0]
    borders = border_arguments(corrections, out, spikes, weight, stride, padding)
    place = Place.plain(spikes, weight, stride, padding)
    spikes, weight = aligned(place.spikes), aligned(place.weight)
    images, tall, wide, cols = (chosen[name] for name in ("images", "tall", "wide", "cols"))
    number = boxes.tiles_of(out.shape[1:4], out.shape[-1], chosen)
    most = chosen["programs"] * config.processors(spikes.device)
    programs = min(number, most) if isinstance(number, int) else number
    threads = 32 * (chosen["num_warps"] + _LOADING) * chosen["programs"]
    leak, factor = leak_arguments(tau, decay is not None, decay or 0.0, steps)
    shortcut = beside if residual is None else residual
    dense = None if shortcut is None else one_step(shortcut).view(-1, *out.shape[1:])
    row = (boxes.padded_steps(steps), images, 1, wide, chosen["block_k"])
    view, *odd = (Boxes(one, row) for one in lattices(spikes, place.channels, stride, paired=stride == 2))
    described(spike_conv_lif_rows_kernel)[(programs,)](
        view=view,
        odd=odd[0] if odd else out,
        weight=Boxes(weight.flatten(1), (cols, chosen["block_k"])),
        spikes=_rows_of(out, images, wide, cols),
        scale=out if scale is None else scale,
        bias=out if bias is None else bias,
        shortcut=out if dense is None else _rows_of(aligned(dense), images, wide, cols),
        current=_rows_of(current, images, wide, cols) if current.numel() else out,
        SCALE=scale is not None,
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        RESIDUAL_STEPS=1 if shortcut is None or repeats_one_step(shortcut) else steps,
        WANT_CURRENT=current.numel() > 0,
        BESIDE=beside is not None,
        out_height=out.shape[2],
        out_width=out.shape[3],
        cols=out.shape[-1],
        tiles=number,
        factor=factor,
        threshold=threshold,
        v_reset=0.0 if v_reset is None else v_reset,
        T=steps,
        CHANNELS=place.channels,
        KERNEL=place.kernel,
        STRIDE=stride,
        PAD=padding,
        LEAK=leak,
        DECAY_INPUT=decay_input,
        HARD=reset_kind(v_reset),
        OUT=form_number(form),
        TALL=tall,
        STAGES=chosen["num_stages"],
        REGISTERS=min(_MOST, _REGISTERS // threads // 8 * 8),
        PROCESSORS=fewest_processors(),
        num_warps=chosen["num_warps"],
        **rounding(grid, low, high, rounds, least),
        **borders,
    )


def _rows_of(tensor: Tensor, images: int, wide: int, cols: int) -> Boxes:
    """Returns what lies like the output in rows of a tile's pixels, of as many of its channels as a box takes."""
    return Boxes(tensor, (1, images, 1, wide, min(cols, _ROW // tensor.itemsize)))
