"""The definition of `depthwise`: a depthwise convolution on channels-last data, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, dtype: torch.dtype) -> Tensor:
    """Returns `[B, H', W', C]` of `[B, H, W, C]` and a weight `[k, k, C]`, accumulated in float32."""
    accumulate = torch.float64 if dtype == torch.float64 else torch.float32
    kernel = weight.permute(2, 0, 1).unsqueeze(1).to(accumulate)
    y = functional.conv2d(x.permute(0, 3, 1, 2).to(accumulate), kernel, padding=padding, groups=weight.shape[2])
    y = y.permute(0, 2, 3, 1)
    return (y if bias is None else y + bias.to(accumulate)).to(dtype)
