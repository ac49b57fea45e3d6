"""Definition of `gate_lif`: spikes let through by neurons that fire on a sum of spikes, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.kernels.common.neuron import decay_of, encode, run, unpack_words


def dense(x: Tensor, channels: int) -> Tensor:
    """Returns spikes as float32, unpacked if they are packed."""
    return unpack_words(x, channels, torch.float32) if x.dtype == torch.int32 else x.float()


def counts(a: Tensor, b: Tensor | None, over: str, heads: int) -> Tensor:
    """Returns the sums of spikes, or of products: `[T, B, 1, C]` over tokens, `[T, B, N, heads]` over channels."""
    counted = a if b is None else a * b
    if over == "tokens":
        return counted.sum(2, keepdim=True)
    return counted.reshape(*counted.shape[:3], heads, counted.shape[3] // heads).sum(4)


def spread(gate: Tensor, channels: int, over: str) -> Tensor:
    """Returns gates so that they multiply `[T, B, N, C]`: those over channels once for every channel of the head."""
    return gate if over == "tokens" else gate.repeat_interleave(channels // gate.shape[3], 3)


def forward(
    mask: Tensor,
    a: Tensor,
    b: Tensor | None,
    channels: int,
    heads: int,
    over: str,
    scale: float,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    dtype: torch.dtype,
    decay: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the spikes `[T, B, N, C]` in a form and the gates as bool (see `gate_lif`)."""
    through, first, second = (None if x is None else dense(x, channels) for x in (mask, a, b))
    assert through is not None
    assert first is not None
    current = counts(first, second, over, heads) * scale
    gate, _ = run(current, None, tau, decay_of(decay), threshold, v_reset, decay_input)
    return encode(spread(gate, channels, over) & (through != 0), form, dtype), gate
