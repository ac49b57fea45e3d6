"""What tests and benchmarks need of `depthwise`: cost, workload and opponent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from neurokit.kernels.contract import Cost, Example, Kernel, nbytes, normal, register_kernel, spikes
from neurokit.kernels.depthwise.examples import examples, op_examples
from neurokit.kernels.depthwise.op import NAME, depthwise


def cost(example: Example) -> Cost:
    """Reads and writes every value once; two float32 operations a tap and output."""
    x, w = example.args[:2]
    kernel, padding = w.shape[0], example.kwargs.get("padding", 0)
    sizes = [max(size + 2 * padding - kernel + 1, 0) for size in x.shape[1:3]]
    outputs = x.shape[0] * sizes[0] * sizes[1] * x.shape[3]
    return Cost(nbytes(x, *example.args[1:]) + outputs * w.itemsize, 2.0 * kernel**2 * outputs)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields a 7x7 of Meta-SpikeFormer 31M at batch 32 and 1, float16."""
    for samples in (128, 4):
        x = spikes(samples, 56, 56, 192, rate=0.2, device=device, dtype=torch.float16)
        w = normal(7, 7, 192, device=device, dtype=torch.float16)
        yield Example(f"7x7 192 at 56, TB={samples} fp16", (x, w), {"padding": 3})


def _cudnn(example: Example) -> Callable[[], Any]:
    x, w = example.args[:2]
    plain = w.permute(2, 0, 1).unsqueeze(1).contiguous(memory_format=torch.channels_last)
    image, padding, groups = x.permute(0, 3, 1, 2), example.kwargs.get("padding", 0), x.shape[3]
    return lambda: F.conv2d(image, plain, padding=padding, groups=groups)


register_kernel(
    Kernel(
        name=NAME,
        summary="depthwise convolution on channels-last data",
        function=depthwise,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        workloads=workloads,
        opponents={"cudnn": _cudnn},
    )
)
