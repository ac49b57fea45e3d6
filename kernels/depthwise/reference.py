"""The definition of `depthwise`: a depthwise convolution on channels-last data, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int,
    dtype: torch.dtype,
    scale: Tensor | None = None,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    stride: int = 1,
) -> Tensor:
    """Returns `[B, H', W', C]` in `dtype` of `[B, H, W, C]` and a weight `[k, k, C]`.

    Sums are float32, of int8 weights exact and rounded to float32 once; then `* scale + bias`, and with a grid, limited
    and rounded, halves to even, to multiples of it, of which the numbers are returned.
    """
    whole = weight.dtype == torch.int8
    accumulate = torch.float64 if dtype == torch.float64 or whole else torch.float32
    kernel = weight.permute(2, 0, 1).unsqueeze(1).to(accumulate)
    data = x.permute(0, 3, 1, 2).to(accumulate)
    y = functional.conv2d(data, kernel, stride=stride, padding=padding, groups=weight.shape[2])
    y = y.permute(0, 2, 3, 1).to(torch.float32 if whole else accumulate)
    y = y if scale is None else y * scale.to(y.dtype)
    y = y if bias is None else y + bias.to(y.dtype)
    if grid is not None:
        y = torch.round(y.clamp(*limits(grid, low, high)) / grid)
    return y.to(dtype)


def limits(grid: float, low: float | None, high: float | None) -> tuple[float, float]:
    """Returns the limits of what is rounded: those given, or what int8 holds."""
    return -128 * grid if low is None else low, 127 * grid if high is None else high
