"""The definition of `spike_conv_lif`: convolution, affine, residual and neuron over time, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from neurokit.kernels.common.neuron import decay_of, encode, on_grid, run
from neurokit.kernels.common.product import LEVELS, added, as_levels, limited
from neurokit.kernels.spike_conv_lif.borders import at_pixels


def current(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    stride: int,
    padding: int,
    accumulate: torch.dtype = torch.float32,
    corrections: Tensor | None = None,
) -> Tensor:
    """Returns the convolution's `[T, B, H', W', N]`, times scale, plus bias and residual, in `accumulate`.

    An int8 weight's sums are integers: exact here in any order, and rounded once, as an int32 sum is. With corrections
    the spikes are numbers less 128, and the sums are the numbers'.
    """
    wide = torch.float64 if weight.dtype == torch.int8 else accumulate
    x = spikes.flatten(0, 1).permute(0, 3, 1, 2).to(wide)
    y = functional.conv2d(x, weight.permute(0, 3, 1, 2).to(wide), stride=stride, padding=padding)
    y = y.permute(0, 2, 3, 1).unflatten(0, spikes.shape[:2])
    if corrections is not None:
        y = y + at_pixels(corrections, weight.shape[1], stride, padding, *spikes.shape[2:4])
    y = y.to(accumulate)
    if scale is not None:
        y = y * scale.to(accumulate)
    if bias is not None:
        y = y + bias.to(accumulate)
    return y if residual is None else y + residual.to(accumulate)


def forward(
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
    form: str,
    dtype: torch.dtype,
    grid: float | None = None,
    low: float | None = None,
    high: float | None = None,
    rounds: bool = False,
    decay: float | None = None,
    least: float | None = None,
    corrections: Tensor | None = None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns spikes `[T, B, H', W', N]` in a form ("same": `dtype`) and the current in float32, or rounded."""
    y = current(spikes, weight, scale, bias, residual, stride, padding, corrections=corrections)
    x = on_grid(y, grid, low, high)
    if form in LEVELS:
        return as_levels(x, grid, form), limited(x if rounds else y, least)  # type: ignore[arg-type]
    fired, _ = run(x, None, tau, decay_of(decay), threshold, v_reset, decay_input)
    return added(encode(fired, form, dtype), beside), x if rounds else y
