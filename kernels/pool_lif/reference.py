"""Definition of `pool_lif`: pooled currents and the neuron, in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.kernels.common.neuron import decay_of, encode, on_grid, run


def pooled(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], how: str) -> Tensor:
    """Returns the largest, or the mean (zeros around the image count), of windows of `[T, B, H, W, C]`, in its type."""
    image = x.flatten(0, 1).permute(0, 3, 1, 2)
    wide = image if image.dtype == torch.float64 else image.float()
    pool = F.max_pool2d if how == "max" else F.avg_pool2d
    return pool(wide, kernel, stride, padding).to(x.dtype).permute(0, 2, 3, 1).unflatten(0, (x.shape[0], -1))


def forward(
    x: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    how: str,
    grid: float | None,
    low: float | None,
    high: float | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    decay: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns spikes `[T, B, H', W', C]` and the currents in the type of x (see `pool_lif`)."""
    y = on_grid(pooled(x, kernel, stride, padding, how), grid, low, high)
    wide = y if y.dtype == torch.float64 else y.float()
    spikes, _ = run(wide, None, tau, decay_of(decay), threshold, v_reset, decay_input)
    return encode(spikes, form, x.dtype), y
