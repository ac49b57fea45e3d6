"""The definition of `spike_stats`: how often each channel fires, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.kernels.common.neuron import unpack_words


def counts(words: Tensor, channels: int) -> Tensor:
    """Returns the number of spikes a step and channel, `[T, C]` int64, of packed `[T, ..., ceil(C / 32)]`."""
    bits = unpack_words(words, channels, torch.int64)
    return bits.reshape(words.shape[0], -1, channels).sum(1)
