"""What the convolution by boxes is given: lattices of the input's pixels, the weight and the output, as descriptors."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from neurokit.kernels import config
from neurokit.kernels.common.descriptors import Boxes, host_makes

STRIDE_BYTES = 16  # of which a descriptor's strides are multiples
_MOST = 4  # of stride 2, where neighbours are not paired


def lattices(spikes: Tensor, channels: int, stride: int, paired: bool) -> list[Tensor]:
    """Returns stride x stride lattices of the input's pixels `[T, B, H, W, C]`; a tap meets the pixels of one.

    Args:
        spikes: Dense `[T, B, H, W, pitch]`. Where the pitch is less than the channels, a pixel's channels are its right
            neighbours', too, and the last pixels of a row have none of their own.
        channels: Numbers of a tap.
        stride: Of the convolution, 1 or 2.
        paired: Whether two neighbours in a row are one pixel of twice the channels, so that there are `stride`
            lattices, of rows only.
    """
    steps, batch, height, width, pitch = spikes.shape
    if stride == 1 and pitch == channels:
        return [spikes]
    across = 1 if paired else stride
    beyond = -(-channels // pitch) - 1
    image = height * width * pitch
    strides = (batch * image, image, stride * width * pitch, stride * pitch, 1)
    found = []
    for p in range(stride * across):
        row, column = divmod(p, across)
        rows, columns = (height - row + stride - 1) // stride, (width - column + stride - 1) // stride - beyond
        size = (steps, batch, rows, columns, (2 if paired else 1) * channels)
        found.append(spikes.as_strided(size, strides, spikes.storage_offset() + (row * width + column) * pitch))
    return found


def arguments(
    spikes: Tensor,
    weight: Tensor,
    out: Tensor,
    channels: tuple[int, int],
    stride: int,
    paired: bool,
    steps: int,
    chosen: config.Config,
    whole: bool = True,
) -> dict[str, Any]:
    """Returns the kernel's arguments that are read and written by boxes, and who describes the output, if anyone.

    Args:
        spikes: Dense `[T, B, H, W, pitch]`.
        weight: `[N, ...]`.
        out: `[T, B, H, W, N]`.
        channels: Numbers of a tap, and groups of so many.
        stride: Of the convolution.
        paired: Whether two neighbours in a row are one pixel.
        steps: Of a box.
        chosen: The launch parameters.
        whole: Whether all of a tile's channels are its own to write, or none's.
    """
    pixels = (chosen["images"], chosen["tall"], chosen["wide"])
    flat = weight.flatten(1)
    found: dict[str, Any] = {}
    views = lattices(spikes, math.prod(channels), stride, paired)
    for i in range(_MOST):
        there = i < len(views)
        found[f"view{i}"] = Boxes(views[i], (steps, *pixels, chosen["block_k"])) if there else spikes
        tail = there and chosen["tail_k"]
        found[f"tail{i}"] = Boxes(views[i], (steps, *pixels, chosen["tail_k"])) if tail else spikes
    found["weight"] = Boxes(flat, (chosen["cols"], chosen["block_k"]))
    found["weight_tail"] = Boxes(flat, (chosen["cols"], chosen["tail_k"])) if chosen["tail_k"] else flat
    box = (1, *pixels, chosen["cols"])
    dense = whole and out.shape[-1] * out.itemsize % STRIDE_BYTES == 0
    hosted = dense and host_makes(box, out.itemsize)
    return found | {"spikes": Boxes(out, box) if hosted else out, "HOSTED": hosted, "OUT_BOXES": dense}
