"""Writes a convolution of few channels as one over cells of pixels, whose rows of taps are one run of memory each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from neurokit.kernels.common.layout import power_of_two

# Strides of a descriptor are multiples of 16 bytes.
ALIGNED = 16
# A matrix instruction takes 32 bytes of each operand's row at a time.
LEAST = 32
# Bytes of a row of taps that one box may hold: the widest swizzle of shared memory.
MOST = 128
# Channels that a convolution which is not folded is filled up to a multiple of.
FILLED = 32


@dataclass(frozen=True)
class Fold:
    """How a convolution is folded.

    A cell is stride x stride pixels with all their channels, filled up to `pitch` numbers. The kernel is then `taps` x
    `taps` cells of stride 1, and `taps` neighbours in a row are `window` numbers that lie behind each other.

    Attributes:
        stride: Pixels of a cell, down and across.
        first: Cell of the first tap, counted from an output's own: -1 is the one before.
        taps: Cells of the kernel, down and across.
        pitch: Numbers of a cell.
        window: Numbers of a row of taps; behind the last the weight is zero.
    """

    stride: int
    first: int
    taps: int
    pitch: int
    window: int

    @property
    def beyond(self) -> int:
        """Cells that the last window of a row reaches into."""
        return -(-self.window // self.pitch) - 1


def fold_of(channels: int, kernel: int, stride: int, padding: int, size: int) -> Fold | None:
    """Returns how a convolution is folded, or None where its products would be no fewer.

    Args:
        channels: Input channels.
        kernel: Height and width of the kernel.
        stride: Its step.
        padding: Zeros around the input.
        size: Bytes of a number.
    """
    first, last = -padding // stride, (kernel - 1 - padding) // stride
    taps, aligned = last - first + 1, ALIGNED // size
    pitch = -(-channels * stride**2 // aligned) * aligned
    window = max(LEAST // size, power_of_two(taps * pitch))
    fewer = taps * window < kernel**2 * -(-channels // FILLED) * FILLED
    return Fold(stride, first, taps, pitch, window) if fewer and window * size <= MOST else None


def fold_pixels(spikes: Tensor, fold: Fold, height: int, width: int) -> Tensor:
    """Returns the cells of pixels `[T, B, H, W, C]` that an output of a height and width needs.

    Returns:
        `[T, B, height + taps - 1, width + beyond, pitch]`; padding and what fills cells up is zero.
    """
    side, before = fold.stride, -fold.first * fold.stride
    rows, columns = height + fold.taps - 1, width + fold.beyond
    around = (before, columns * side - before - spikes.shape[3], before, rows * side - before - spikes.shape[2])
    x = functional.pad(spikes, (0, 0, *around))
    x = x.unflatten(3, (columns, side)).unflatten(2, (rows, side)).transpose(3, 4).flatten(4)
    return functional.pad(x, (0, fold.pitch - x.shape[-1])).contiguous()


def fold_weight(weight: Tensor, fold: Fold, padding: int) -> Tensor:
    """Returns a weight `[N, k, k, C]` as that of cells, `[N, taps, window]`."""
    side, kernel = fold.stride, weight.shape[1]
    before = -fold.first * side - padding
    around = (before, fold.taps * side - before - kernel)
    w = functional.pad(weight, (0, 0, *around, *around))
    w = w.unflatten(2, (fold.taps, side)).unflatten(1, (fold.taps, side)).transpose(2, 3).flatten(3)
    w = functional.pad(w, (0, fold.pitch - w.shape[-1])).flatten(2)
    return functional.pad(w, (0, fold.window - w.shape[-1])).contiguous()
