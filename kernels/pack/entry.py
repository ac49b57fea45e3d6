"""What tests and benchmarks need of `pack` and `unpack`: cost and workloads."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, register_kernel, spikes
from neurokit.kernels.pack.examples import pack_examples, pack_op_examples, unpack_examples, unpack_op_examples
from neurokit.kernels.pack.op import pack, unpack


def pack_cost(example: Example) -> Cost:
    """Reads every value and writes a bit for each."""
    x = example.args[0]
    return Cost(nbytes(x) + x.numel() / 8)


def unpack_cost(example: Example) -> Cost:
    """Reads every word and writes a value for each bit."""
    words, size = example.args[:2]
    dtype = example.args[2] if len(example.args) > 2 else torch.float32
    return Cost(nbytes(words) + words.numel() / max(words.shape[-1], 1) * size * dtype.itemsize)


def pack_workloads(device: torch.device) -> Iterator[Example]:
    """Yields 25.7 million spikes in bfloat16."""
    yield Example("25.7 M bf16", (spikes(4, 8 * 56**2, 256, rate=0.2, device=device, dtype=torch.bfloat16),))


def unpack_workloads(device: torch.device) -> Iterator[Example]:
    """Yields 25.7 million bits."""
    words = pack(spikes(4, 8 * 56**2, 256, rate=0.2, device=device))
    yield Example("25.7 M to bf16", (words, 256, torch.bfloat16))


register_kernel(
    Kernel(
        name="pack",
        summary="32 spikes into an int32 word",
        function=pack,
        op="pack",
        examples=pack_examples,
        op_examples=pack_op_examples,
        cost=pack_cost,
        workloads=pack_workloads,
    )
)
register_kernel(
    Kernel(
        name="unpack",
        summary="an int32 word into 32 spikes",
        function=unpack,
        op="unpack",
        examples=unpack_examples,
        op_examples=unpack_op_examples,
        cost=unpack_cost,
        workloads=unpack_workloads,
    )
)
