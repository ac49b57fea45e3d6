"""The operator `spike_counts` and the public function `spike_stats`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.spike_stats import reference

NAME = "spike_stats"
DEFAULT = {"tile": 256, "iterations": 16, "num_warps": 4}
# ROWS * 255 must fit into 16 bits, and a byte counts at most 255 rows.
_MAX_ROWS = 256


class SpikeStats(NamedTuple):
    """What `spike_stats` returns.

    Attributes:
        counts: Spikes a step and channel, `[T, C]` int64.
        synops: Synaptic operations a step, `[T]` int64: the sum of counts times fan-out (of counts, without one).
        rate: Share of neurons that fire, a step and channel, `[T, C]` float64.
    """

    counts: Tensor
    synops: Tensor
    rate: Tensor


def _fake(words: Tensor, channels: int) -> Tensor:
    return words.new_empty((words.shape[0], channels), dtype=torch.int64)


def _counts(words: Tensor, channels: int) -> Tensor:
    if words.numel() == 0:
        return words.new_zeros((words.shape[0], channels), dtype=torch.int64)
    if not use_triton(NAME, words):
        return reference.counts(words, channels)
    from neurokit.kernels.spike_stats.triton import spike_counts_kernel

    words = words.contiguous()
    steps, width = words.shape[0], words.shape[-1]
    rows = words.numel() // (steps * width)
    chosen = config.lookup(NAME, (width,), words.device, DEFAULT)
    span = min(16, 1 << (width - 1).bit_length())
    block = min(_MAX_ROWS, chosen["tile"] // span)
    per_program = block * chosen["iterations"]
    out = words.new_zeros((steps, channels), dtype=torch.int32)
    launch(spike_counts_kernel)[((rows + per_program - 1) // per_program, (width + span - 1) // span, steps)](
        words,
        out,
        rows,
        width,
        channels,
        ITERATIONS=chosen["iterations"],
        ROWS=block,
        WORDS=span,
        num_warps=chosen["num_warps"],
    )
    return out.to(torch.int64)


spike_counts_op = register_op("spike_counts", _fake)(_counts)


def spike_stats(words: Tensor, channels: int, fanout: Tensor | None = None) -> SpikeStats:
    """Counts spikes and synaptic operations where the spikes lie packed, one bit each.

    Args:
        words: Packed spikes `[T, ..., ceil(C / 32)]` int32.
        channels: C.
        fanout: Synapses a neuron of a channel drives, `[C]`, whole numbers; 1 if None.

    Returns:
        The counts, the synaptic operations and the rates.

    Raises:
        InputError: If a shape or dtype does not fit.
    """
    if words.dtype != torch.int32 or words.dim() < 2 or words.shape[-1] != -(-channels // 32):
        raise InputError(
            f"spike_stats got {words.dtype} {tuple(words.shape)} for {channels} channels",
            expected="int32 [T, ..., ceil(C / 32)]",
        )
    if fanout is not None and (fanout.shape != (channels,) or fanout.is_floating_point()):
        raise InputError(f"fanout is {fanout.dtype} {tuple(fanout.shape)}", expected=f"whole numbers ({channels},)")
    counts = torch.ops.neurokit_kernels.spike_counts(words, channels)
    weighted = counts if fanout is None else counts * fanout.to(torch.int64)
    neurons = words.numel() // max(1, words.shape[0] * words.shape[-1])
    return SpikeStats(counts, weighted.sum(1), counts.double() / max(1, neurons))
