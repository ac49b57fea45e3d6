"""The definition of `spike_linear_lif`: product, affine, residual and neuron over time, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.kernels.common.neuron import decay_of, encode, on_grid, run, unpack_words
from neurokit.kernels.common.product import LEVELS, added, as_levels, limited


def current(
    spikes: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    accumulate: torch.dtype = torch.float32,
) -> Tensor:
    """Returns `spikes @ weight.T * scale + bias + residual` `[T, M, N]`, computed in `accumulate`.

    Of a weight `[N, K / groups]` each group of channels is multiplied by its own rows.
    An int8 weight's sums are integers: exact here in any order, and rounded once, as an int32 sum is.
    """
    wide = torch.float64 if weight.dtype == torch.int8 else accumulate
    dense = unpack_words(spikes, weight.shape[1], wide) if spikes.dtype == torch.int32 else spikes.to(wide)
    groups = max(1, dense.shape[-1] // max(1, weight.shape[1]))
    parts = zip(dense.chunk(groups, -1), weight.to(wide).chunk(groups), strict=True)
    y = torch.cat([some @ rows.T for some, rows in parts], -1).to(accumulate)
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
    v0: Tensor | None,
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
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns spikes `[T, M, N]` in a form ("same": `dtype`), the last membrane `[M, N]` and the current."""
    y = current(spikes, weight, scale, bias, residual)
    x = on_grid(y, grid, low, high)
    if form in LEVELS:
        return as_levels(x, grid, form), y.new_empty(0), limited(x if rounds else y, least)  # type: ignore[arg-type]
    fired, v = run(x, v0, tau, decay_of(decay), threshold, v_reset, decay_input)
    return added(encode(fired, form, dtype), beside), v, x if rounds else y
