"""A convolution as the kernel by boxes takes it: channels filled up, or an image's few channels folded into cells."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from neurokit.kernels.common.layout import hint
from neurokit.kernels.spike_conv_lif.folded import Fold, fold_of, fold_pixels, fold_weight

# Descriptors want strides of 16 bytes, which is 16 channels of int8.
ALIGNED = 16
# A matrix instruction takes 32 channels. Boxes that end in the midst of them were loaded at a third of the rate (H200,
# 48 channels), so that a copy with channels of zeros pays.
WHOLE = 32


def folds(weight: Tensor, stride: int, padding: int) -> Fold | None:
    """Returns how a convolution of an image's few channels is folded into cells, or None."""
    if weight.dim() != 4:
        return None
    return fold_of(weight.shape[3], weight.shape[1], stride, padding, weight.dtype.itemsize)


def filled(channels: int) -> int:
    """Returns how many channels a pixel has with those of zeros."""
    return -(-channels // WHOLE) * WHOLE


@dataclass(frozen=True)
class Place:
    """A convolution as the kernel is given it.

    Attributes:
        spikes: `[T, B, H, W, pitch]`.
        weight: `[N, ...]`, of kernel x columns taps.
        channels: Numbers of a tap.
        kernel: Rows of taps.
        columns: Taps of a row.
        stride: Step of the kernel.
        padding: Zeros around the input.
    """

    spikes: Tensor
    weight: Tensor
    channels: int
    kernel: int
    columns: int
    stride: int
    padding: int

    @staticmethod
    def plain(spikes: Tensor, weight: Tensor, stride: int, padding: int) -> Place:
        """Returns a convolution with its channels filled up."""
        missing = filled(weight.shape[-1]) - weight.shape[-1]
        if missing:
            spikes, weight = (functional.pad(x, (0, missing)) for x in (spikes, weight))
        kernel, _, channels = weight.shape[1:]
        return Place(spikes, weight, channels, kernel, kernel, stride, padding)

    @staticmethod
    def folded(spikes: Tensor, weight: Tensor, stride: int, padding: int, out: Tensor) -> Place | None:
        """Returns a convolution of an image's few channels over cells, or None of another one."""
        fold = folds(weight, stride, padding)
        if fold is None:
            return None
        cells = fold_pixels(spikes, fold, hint(out.shape[2]), hint(out.shape[3]))
        return Place(cells, fold_weight(weight, fold, padding), fold.window, fold.taps, 1, 1, 0)


def aligned(tensor: Tensor) -> Tensor:
    """Returns the tensor, contiguous, from an address that a descriptor may start at."""
    tensor = tensor.contiguous()
    return tensor.clone() if tensor.storage_offset() % ALIGNED else tensor
