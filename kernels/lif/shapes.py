"""How `lif` arranges its input and allocates its outputs, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.kernels.common.layout import is_time_major, repeats_a_step, repeats_one_step, steps_of
from neurokit.kernels.common.neuron import empty_spikes


def arrange(x: Tensor, scale: Tensor | None, bias: Tensor | None, form: str) -> Tensor:
    """Returns `x` as a tensor whose memory the kernels can walk, with a copy only where they cannot."""
    if x.is_contiguous():
        return x
    if repeats_a_step(x):
        return steps_of(x)  # type: ignore[return-value]
    by_row = scale is not None or bias is not None or form == "packed"
    return x if not by_row and is_time_major(x) else x.contiguous()


def allocate(x: Tensor, form: str, want_v: bool, want_current: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Allocates spikes, last membrane and current for an arranged `x`; what is not wanted is empty."""
    dtype = x.dtype if x.is_floating_point() else torch.float32
    dense = x.new_empty(x.shape, dtype=dtype) if repeats_one_step(x) else torch.empty_like(x, dtype=dtype)
    if form == "packed":
        spikes = empty_spikes(tuple(x.shape), form, dtype, x.device)
    else:
        spikes = torch.empty_like(dense, dtype=torch.int8 if form == "int8" else dtype)
    v = x.new_empty(0, dtype=torch.float32)
    if want_v:
        v = x.new_empty_strided(x.shape[1:], dense.stride()[1:], dtype=torch.float32)
    return spikes, v, torch.empty_like(dense) if want_current else x.new_empty(0, dtype=dtype)
