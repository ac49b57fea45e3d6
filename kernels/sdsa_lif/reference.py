"""The definition of `sdsa_lif`: spike-driven self-attention with its neuron, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.kernels.common.neuron import decay_of, encode, run, unpack_words


def dense(x: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Returns spikes as numbers, unpacked if they are packed."""
    return unpack_words(x, channels, dtype) if x.dtype == torch.int32 else x.to(dtype)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`[T, B, N, C]` -> `[T, B, H, N, C / H]`."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(2, 3)


def merge_heads(x: Tensor) -> Tensor:
    """`[T, B, H, N, D]` -> `[T, B, N, H * D]`."""
    return x.transpose(2, 3).flatten(3)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, scale: float) -> Tensor:
    """Returns the neuron's input `[T, B, N, C]`."""
    q, k, v = (split_heads(x, heads) for x in (q, k, v))
    return merge_heads(q @ (k.transpose(-1, -2) @ v)) * scale


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    channels: int,
    heads: int,
    scale: float,
    tau: float | None,
    threshold: float,
    v_reset: float | None,
    decay_input: bool,
    form: str,
    dtype: torch.dtype,
    decay: float | None = None,
) -> Tensor:
    """Returns the spikes `[T, B, N, C]` in a form (see `sdsa_lif`)."""
    q, k, v = (dense(x, channels, torch.float32) for x in (q, k, v))
    current = attention(q, k, v, heads, scale)
    spikes, _ = run(current, None, tau, decay_of(decay), threshold, v_reset, decay_input)
    return encode(spikes, form, dtype)
