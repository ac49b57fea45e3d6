"""What a convolution of numbers has to be given of its weight where the numbers are held less 128.

With x - 128 for x, sum w x = sum w (x - 128) + 128 sum w over the taps inside the image: what lies outside reads as
zero, which is number 128 there. Pixels whose taps are inside alike, as all away from the border, share a summand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels.common.product import LESS


@dataclass(frozen=True)
class Edge:
    """How the taps of a line of outputs, its rows or columns, lie inside the image.

    Output i is of class min(i, first) + max(i - last, 0).

    Attributes:
        first: Outputs in front of the first one that the image's beginning cuts no tap of.
        last: The last output that its end cuts none of. Both are `count` where every output is cut.
        count: Outputs.
    """

    first: Any
    last: Any
    count: Any

    @property
    def classes(self) -> Any:
        """How many classes there are."""
        return self.first + self.count - self.last

    def of_outputs(self, device: torch.device | None = None) -> Tensor:
        """Returns the class of every output, as `triton_borders.of_numbers` reckons it of a tile's."""
        output = torch.arange(self.count, device=device)
        return output.clamp(max=self.first) + (output - self.last).clamp(min=0)


def edge(size: Any, kernel: int, stride: int, padding: int) -> Edge:
    """Returns how the taps lie inside along one axis.

    Args:
        size: Pixels of the input; without padding it may be one that is not known yet.
        kernel: Taps.
        stride: Step of the kernel.
        padding: Zeros on either side.
    """
    count = (size + 2 * padding - kernel) // stride + 1
    if not padding:
        return Edge(0, count - 1, count)
    first, last = -(-padding // stride), (size + padding - kernel) // stride
    return Edge(first, last, count) if first <= last else Edge(count, count, count)


def corrections(weight: Tensor, stride: int, padding: int, height: int, width: int) -> Tensor:
    """Returns what is added to a convolution's sums of numbers less 128, so that they are those of the numbers.

    Args:
        weight: `[N, k, k, C]` int8.
        stride: Step of the kernel.
        padding: Zeros around the input.
        height: Rows of the input.
        width: Its columns.

    Returns:
        `[1 + R * C, N]` int32: first that of all taps, then those of R classes of rows times C of columns.
    """
    kernel = weight.shape[1]
    taps = weight.to(torch.int64).sum(3)
    rows, columns = (_inside(size, kernel, stride, padding).to(weight.device) for size in (height, width))
    inside = rows[:, None, :, None] * columns[None, :, None, :]
    found = (inside.flatten(0, 1)[:, None] * taps).sum((2, 3))
    return (LESS * torch.cat([taps.sum((1, 2))[None], found])).to(torch.int32)


def _inside(size: int, kernel: int, stride: int, padding: int) -> Tensor:
    """Returns which taps are inside along one axis, `[classes, k]`."""
    line = edge(size, kernel, stride, padding)
    found = torch.zeros(line.classes, kernel, dtype=torch.int64)
    pixel = torch.arange(line.count)[:, None] * stride - padding + torch.arange(kernel)
    found[line.of_outputs()] = ((pixel >= 0) & (pixel < size)).to(found.dtype)
    return found


def check_corrections(table: Tensor, spikes: Tensor, weight: Tensor, stride: int, padding: int) -> None:
    """Checks what is added to sums of numbers less 128.

    Raises:
        InputError: If the numbers or the weight are no int8, or the table is not of this convolution.
    """
    if spikes.dtype != torch.int8 or weight.dtype != torch.int8:
        raise InputError(f"corrections beside {spikes.dtype} and a weight of {weight.dtype}", expected="int8 and int8")
    rows, columns = (edge(size, weight.shape[1], stride, padding) for size in spikes.shape[2:4])
    shape = (1 + rows.classes * columns.classes, weight.shape[0])
    if tuple(table.shape) != shape or table.dtype != torch.int32 or not table.is_contiguous():
        raise InputError(f"corrections are {table.dtype} {tuple(table.shape)}", expected=f"contiguous int32 {shape}")


def at_pixels(table: Tensor, kernel: int, stride: int, padding: int, height: int, width: int) -> Tensor:
    """Returns what is added at every pixel of the output, `[H', W', N]`, of `corrections`."""
    rows, columns = (edge(size, kernel, stride, padding) for size in (height, width))
    down, across = (line.of_outputs(table.device) for line in (rows, columns))
    return table[1 + down[:, None] * columns.classes + across]


def arguments(
    table: Tensor | None, stand_in: Tensor, spikes: Tensor, weight: Tensor, stride: int, padding: int
) -> dict[str, Any]:
    """Returns the arguments by which the kernel through descriptors finds what it adds.

    Args:
        table: `corrections`, or None.
        stand_in: What is handed on in its place then.
        spikes: `[T, B, H, W, C]`.
        weight: `[N, k, k, C]`.
        stride: Step of the kernel.
        padding: Zeros around the input.
    """
    if table is None:
        return {"corrections": stand_in, "top": 0, "last_row": 0, "left": 0, "last_column": 0, "LESS": False}
    rows, columns = (edge(size, weight.shape[1], stride, padding) for size in spikes.shape[2:4])
    return {
        "corrections": table,
        "top": rows.first,
        "last_row": rows.last,
        "left": columns.first,
        "last_column": columns.last,
        "LESS": True,
    }
