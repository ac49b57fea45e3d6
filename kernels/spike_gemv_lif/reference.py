"""The definition of `spike_gemv_lif`: the product and neuron of `spike_linear_lif`, for a transposed weight."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.kernels.spike_linear_lif import reference


def forward(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
) -> Tensor:
    """Returns spikes `[T, M, N]` int8 of `[T, M, K]` spikes and a `[K, N]` weight."""
    return reference.forward(
        spikes, weight.t(), scale, bias, None, None, tau, threshold, v_reset, decay_input, "int8", torch.float32
    )[0]
