"""What tests and benchmarks need of `spike_stats`: cost, workload and opponent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, register_kernel, spikes
from neurokit.kernels.pack.op import pack, unpack
from neurokit.kernels.spike_stats.examples import examples, op_examples
from neurokit.kernels.spike_stats.op import spike_stats


def cost(example: Example) -> Cost:
    """Reads every word once and writes a count a step and channel."""
    words, channels = example.args[:2]
    return Cost(nbytes(words) + words.shape[0] * channels * 8)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields 25.7 million packed spikes."""
    yield Example("25.7 M spikes", (pack(spikes(4, 8 * 56**2, 256, rate=0.2, device=device)), 256))


def _dense_sum(example: Example) -> Callable[[], Any]:
    words, channels = example.args[:2]
    x = unpack(words, channels, torch.bfloat16)
    return lambda: x.sum(1, dtype=torch.float32)


register_kernel(
    Kernel(
        name="spike_stats",
        summary="firing counts and synaptic operations of packed spikes",
        function=spike_stats,
        op="spike_counts",
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        workloads=workloads,
        opponents={"sum_of_bf16": _dense_sum},
    )
)
