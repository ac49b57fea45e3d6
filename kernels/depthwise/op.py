"""The operator `depthwise` and its public function."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.common.product import check_rows
from neurokit.kernels.depthwise import reference
from neurokit.kernels.dispatch import use_triton

NAME = "depthwise"
DOTS = "depthwise_dots"
PATHS = ("auto", "tile", "stream", "dots")
WEIGHTS = (torch.float32, torch.float16, torch.bfloat16, torch.int8)
DEFAULT = {"tall": 7, "wide": 4, "cols": 64, "num_warps": 4}
# A large kernel wants many rows a program: each input row is then read once for more output rows.
DEFAULT_LARGE = {"tall": 14, "wide": 4, "cols": 32, "num_warps": 4}


# `stream`: one warp a program, a channel a thread. int8 leaves registers for more columns.
STREAM_COLS = 32
STREAM_WIDE = {1: 14, 2: 7, 4: 7}
# As many such warps as the registers of a multiprocessor hold; with fewer in all, `tile` has more parallel work.
STREAM_WARPS = 16

# `dots`, int8 by int8: sums must stay below 2^22 (-128 by -128, KERNEL^2 times), and taps and sums in the registers.
DOTS_LARGEST = 15
DOTS_KERNELS = range(2, 8)
# What fills a GPU: with fewer warps a program takes a part of the rows, down to a shortest one.
DOTS_WARPS = 12
DOTS_SEGMENTS = (28, 14, 7)


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int,
    path: str,
    scale: Tensor | None = None,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    stride: int = 1,
    halves: bool = False,
) -> Tensor:
    kind = torch.float32 if weight.dtype == torch.int8 else weight.dtype
    if grid is not None:
        kind = torch.float16 if halves else torch.int8
    height, width = ((size + 2 * padding - weight.shape[0]) // stride + 1 for size in x.shape[1:3])
    return weight.new_empty((x.shape[0], height, width, x.shape[3]), dtype=kind)


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int,
    path: str,
    scale: Tensor | None = None,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    stride: int = 1,
    halves: bool = False,
) -> Tensor:
    out = _fake(x, weight, bias, padding, path, scale, grid, low, high, stride, halves)
    if out.numel() == 0:
        return out
    if not use_triton(NAME, x):
        return out.copy_(reference.forward(x, weight, bias, padding, out.dtype, scale, grid, low, high, stride))
    if x.stride(3) != 1 or x.stride(1) != x.shape[2] * x.stride(2) or x.stride(0) != x.shape[1] * x.stride(1):
        x = x.contiguous()
    weight, result = weight.contiguous(), _result(weight, bias, scale, grid, low, high)
    if stride == 1 and _dots_apply(path, x, weight):
        _dots(x, weight, padding, out, result)
    elif stride == 1 and _streams(path, x, weight, out):
        _stream(x, weight, padding, out, result)
    else:
        _tile(x, weight, padding, stride, out, result)
    return out


def _result(
    weight: Tensor, bias: Tensor | None, scale: Tensor | None, grid: float | None, low: float | None, high: float | None
) -> dict[str, Any]:
    """Returns the kernels' arguments for what becomes of a sum; the weight stands for a tensor that is not given."""
    least, most = reference.limits(1.0 if grid is None else grid, low, high)
    return {
        "bias": weight if bias is None else bias,
        "scale": weight if scale is None else scale,
        "inverse": 1.0 if grid is None else 1.0 / grid,
        "low": least,
        "high": most,
        "BIAS": bias is not None,
        "SCALE": scale is not None,
        "INTEGER": weight.dtype == torch.int8,
        "ROUND": grid is not None,
    }


def _streams(path: str, x: Tensor, weight: Tensor, out: Tensor) -> bool:
    """Returns whether to go down whole columns: for large kernels that fit into registers, where it fills the GPU."""
    if path != "auto":
        return path == "stream"
    across, blocks = _stream_grid(x, out)
    return 5 < weight.shape[0] <= 7 and across * blocks * out.shape[0] >= STREAM_WARPS * config.processors(x.device)


def _dots_apply(path: str, x: Tensor, weight: Tensor) -> bool:
    """Returns whether four products an instruction are to be had: of int8 by int8, for kernels that fit registers."""
    whole = x.dtype == weight.dtype == torch.int8
    return path == "dots" or (path == "auto" and whole and weight.shape[0] in DOTS_KERNELS)


def dots_default(out: Tensor) -> tuple[bool, dict[str, int]]:
    """Returns whether whole columns fill the GPU, and how many columns and rows a program of `dots` takes then.

    Compared, not computed, so that a free batch stays free in a traced program.
    """
    batch, out_height, out_width, channels = out.shape
    wide = 14 if -(-out_width // 14) * 14 <= 1.25 * (-(-out_width // 8) * 8) else 8
    columns = -(-out_width // wide) * -(-channels // STREAM_COLS) * batch
    needed = DOTS_WARPS * config.processors(out.device)
    many = bool(columns >= needed)
    segment = out_height
    for shorter in DOTS_SEGMENTS:
        if columns * -(-out_height // segment) >= needed:
            break
        segment = min(segment, shorter)
    return many, {"wide": wide, "segment": segment, "ahead": int(not many)}


def dots_key(out: Tensor, kernel: int) -> tuple[int | str, ...]:
    """Returns what the parameters of `dots` are looked up by: kernel, output height, channels, and "few" programs."""
    key = (kernel, out.shape[1], out.shape[3])
    return key if dots_default(out)[0] else (*key, "few")


def _dots(x: Tensor, weight: Tensor, padding: int, out: Tensor, result: dict[str, Any]) -> None:
    from neurokit.kernels.depthwise.triton_dots import depthwise_dots_kernel

    batch, out_height, out_width, channels = out.shape
    kernel = weight.shape[0]
    chosen = config.lookup(DOTS, dots_key(out, kernel), x.device, dots_default(out)[1])
    wide, segment = chosen["wide"], min(chosen["segment"], out_height)
    blocks, segments = -(-channels // STREAM_COLS), -(-out_height // segment)
    launch(depthwise_dots_kernel)[(-(-out_width // wide), blocks * segments, batch)](
        **_columns(x, weight, padding, out),
        CHANNELS=channels,
        **{name: value for name, value in result.items() if name != "INTEGER"},
        WIDE=wide,
        COLS=STREAM_COLS,
        SEGMENT=segment,
        AHEAD=bool(chosen["ahead"]),
        num_warps=1,
    )


def _stream_grid(x: Tensor, out: Tensor) -> tuple[int, int]:
    wide = STREAM_WIDE[x.dtype.itemsize]
    return (out.shape[2] + wide - 1) // wide, (out.shape[3] + STREAM_COLS - 1) // STREAM_COLS


def _stream(x: Tensor, weight: Tensor, padding: int, out: Tensor, result: dict[str, Any]) -> None:
    from neurokit.kernels.depthwise.triton import depthwise_stream_kernel

    batch, out_height = out.shape[:2]
    launch(depthwise_stream_kernel)[(*_stream_grid(x, out), batch)](
        **_columns(x, weight, padding, out),
        **result,
        WIDE=STREAM_WIDE[x.dtype.itemsize],
        COLS=STREAM_COLS,
        ROUNDS=out_height + weight.shape[0] - 1,
        num_warps=1,
    )


def _columns(x: Tensor, weight: Tensor, padding: int, out: Tensor) -> dict[str, Any]:
    """Returns what kernels that go down columns are given of tensors and sizes."""
    return {
        "x": x,
        "weight": weight,
        "out": out,
        "height": x.shape[1],
        "width": x.shape[2],
        "out_height": out.shape[1],
        "out_width": out.shape[2],
        "channels": out.shape[3],
        "STRIDE": x.stride(2),
        "KERNEL": weight.shape[0],
        "PAD": padding,
    }


def _tile(x: Tensor, weight: Tensor, padding: int, stride: int, out: Tensor, result: dict[str, Any]) -> None:
    from neurokit.kernels.depthwise.triton import depthwise_kernel

    batch, out_height, out_width, channels = out.shape
    kernel = weight.shape[0]
    key = (kernel, x.shape[1], channels, x.dtype.itemsize) + (stride,) * (stride > 1)
    chosen = config.lookup(NAME, key, x.device, DEFAULT_LARGE if kernel > 5 else DEFAULT)
    tall, wide, block = chosen["tall"], chosen["wide"], chosen["cols"]
    tiles = ((out_height + tall - 1) // tall) * ((out_width + wide - 1) // wide)
    launch(depthwise_kernel)[(tiles, (channels + block - 1) // block, batch)](
        x=x,
        weight=weight,
        out=out,
        out_height=out_height,
        out_width=out_width,
        channels=channels,
        HEIGHT=x.shape[1],
        WIDTH=x.shape[2],
        STRIDE=x.stride(2),
        STEP=stride,
        KERNEL=kernel,
        PAD=padding,
        **result,
        TALL=tall,
        WIDE=wide,
        COLS=block,
        num_warps=chosen["num_warps"],
    )


depthwise_op = register_op(NAME, _fake)(_forward)


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: int = 0,
    path: str = "auto",
    scale: Tensor | None = None,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    stride: int = 1,
    halves: bool = False,
) -> Tensor:
    """Depthwise convolution on channels-last data, accumulated in float32. Inference only.

    An int8 weight's sums are whole numbers, exact below 2^24; they are scaled and increased, and with a grid come back
    as the int8 operand of what follows.

    Args:
        x: `[B, H, W, C]` int8 (spikes), in the weight's dtype, or beside an int8 weight whole numbers as float16; a
            slice of a wider tensor's channels will do.
        weight: `[k, k, C]` float32, float16, bfloat16 or int8.
        bias: `[C]` float32.
        padding: Zeros around the input.
        path: "tile" (blocks of rows), "stream" (whole columns, for large kernels), "dots" (four products an
            instruction, int8 by int8 alone), or the fastest one by type and shape; they give the same bits.
        scale: `[C]` float32, what the sums of an int8 weight are multiplied by.
        grid: With an int8 weight: the power of two to whose multiples the result is rounded, halves to even.
        low: Least result in front of the rounding; None for what int8 holds.
        high: Largest.
        stride: Step of the kernel; above 1 by the path "tile" alone.
        halves: With a grid: whether the rounded result comes as float16 and not as int8.

    Returns:
        `[B, (H + 2 padding - k) // stride + 1, (W + 2 padding - k) // stride + 1, C]` in the weight's dtype; for an
        int8 weight float32, or with a grid int8 or float16: the result is `grid` times it.

    Raises:
        InputError: If a shape or dtype does not fit.
    """
    if weight.dim() != 3 or weight.shape[0] != weight.shape[1] or padding < 0:
        raise InputError(
            f"weight has shape {tuple(weight.shape)}, padding is {padding}", expected="[k, k, C], padding >= 0"
        )
    if path not in PATHS:
        raise InputError(f"path={path!r} is unknown", expected="auto, tile, stream or dots")
    if stride < 1 or (stride > 1 and path not in ("auto", "tile")):
        raise InputError(f"stride {stride} with path={path!r}", expected='stride >= 1, above 1 with path="tile"')
    also = torch.float16 if weight.dtype == torch.int8 else weight.dtype
    if weight.dtype not in WEIGHTS or x.dtype not in (torch.int8, weight.dtype, also):
        raise InputError(
            f"x is {x.dtype}, weight is {weight.dtype}",
            expected="a float or int8 weight, and x int8 or the same, or float16 beside int8",
        )
    if x.dim() != 4 or x.shape[3] != weight.shape[2] or min(x.shape[1:3]) + 2 * padding < weight.shape[0]:
        raise InputError(
            f"x has shape {tuple(x.shape)}", expected=f"[B, H, W, {weight.shape[2]}], padded no smaller than the kernel"
        )
    if path == "dots" and not (x.dtype == weight.dtype == torch.int8 and weight.shape[0] <= DOTS_LARGEST):
        raise InputError(
            f'path="dots" with {x.dtype} by {weight.dtype}, {weight.shape[0]}x{weight.shape[0]}',
            expected=f"int8 by int8, at most {DOTS_LARGEST}x{DOTS_LARGEST}",
        )
    check_rows(weight.shape[2], scale, bias)
    _check_rounding(weight, scale, grid, low, high, halves)
    return torch.ops.neurokit_kernels.depthwise(x, weight, bias, padding, path, scale, grid, low, high, stride, halves)


def _check_rounding(
    weight: Tensor, scale: Tensor | None, grid: float | None, low: float | None, high: float | None, halves: bool
) -> None:
    if weight.dtype != torch.int8 and (scale is not None or grid is not None):
        raise InputError(f"scale and grid belong to int8 weights, and the weight is {weight.dtype}")
    if grid is not None and (grid <= 0 or math.frexp(grid)[0] != 0.5):
        raise InputError(f"grid={grid!r}", expected="a power of two")
    if grid is None and (low is not None or high is not None):
        raise InputError("limits without a grid", fix="give grid=, the power of two to round to")
    if grid is not None:
        least, most = reference.limits(grid, low, high)
        held = (-2048, 2048, "float16") if halves else (-128, 127, "int8")
        if not held[0] <= least / grid <= most / grid <= held[1]:
            raise InputError(f"limits {least} and {most} on a grid of {grid}", expected=f"what {held[2]} holds of it")
