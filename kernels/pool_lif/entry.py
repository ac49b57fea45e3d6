"""What tests and benchmarks need of `pool_lif`: cost and workloads."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel
from neurokit.kernels.pool_lif.examples import examples, op_examples
from neurokit.kernels.pool_lif.op import NAME, output_size, pool_lif


def cost(example: Example) -> Cost:
    """Reads the currents once, writes spikes, and currents where they are wanted: bound by memory."""
    (x,), given = example.args, example.kwargs
    kernel = given["kernel"]
    stride, padding = given.get("stride") or kernel, given.get("padding", (0, 0))
    pixels = [output_size(*sizes) for sizes in zip(x.shape[2:4], kernel, stride, padding, strict=True)]
    outputs = x.shape[0] * x.shape[1] * pixels[0] * pixels[1] * x.shape[4]
    size = 1 if given.get("form") == "int8" else x.itemsize
    return Cost(nbytes(x) + outputs * (size + (x.itemsize if given.get("want_current") else 0)))


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields the pooling in front of a neuron of QKFormer 10-384's second stage at batch 32, float32 sums."""
    x = normal(4, 32, 56, 56, 192, device=device)
    given = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "form": "int8"}
    yield Example("[4, 32, 56, 56, 192] fp32 to int8, 3x3 stride 2", (x,), given)


register_kernel(
    Kernel(
        name=NAME,
        summary="pooling of currents with the neuron behind it",
        function=pool_lif,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        workloads=workloads,
    )
)
