"""What tests and benchmarks need of `sdsa_lif`: gradients, cost and workloads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels.common.differentiable import neuron
from neurokit.kernels.contract import Cost, Example, GradientCase, Kernel, nbytes, register_kernel, spikes
from neurokit.kernels.sdsa_lif.examples import examples, op_examples
from neurokit.kernels.sdsa_lif.op import NAME, sdsa_lif


def gradients(device: torch.device) -> Iterator[GradientCase]:
    """Yields a case of two heads."""
    inputs = tuple(
        spikes(3, 2, 9 + i, 32, rate=0.25, device=device, dtype=torch.float32)[:, :, i:].clone() for i in range(3)
    )

    def qkv(q: Tensor, k: Tensor, v: Tensor) -> Any:
        return (sdsa_lif(q, k, v, 2, mode="qkv", threshold=0.5),)

    def exact_qkv(q: Tensor, k: Tensor, v: Tensor) -> Any:
        heads = [x.unflatten(3, (2, 16)) for x in (q, k, v)]
        x = torch.einsum("tbnhd,tbmhd,tbmhe->tbnhe", *heads).flatten(3) * 0.125
        return neuron(x, torch.zeros_like(x[0]), 0.5, threshold=0.5)[:1]

    yield GradientCase("qkv", inputs, qkv, exact_qkv, 1e-5)


def cost(example: Example) -> Cost:
    """Reads Q, K and V and writes as many spikes; two products of width C / heads a token (SDSA-3)."""
    q, k, v, heads = example.args[:4]
    channels = example.kwargs.get("channels") or q.shape[-1]
    tokens = q.numel() // max(q.shape[-1], 1)
    size = {"packed": 1 / 8, "int8": 1}.get(example.kwargs.get("form", "same"), q.itemsize)
    unit = "int8" if q.dtype in (torch.int8, torch.int32) else "float16"
    return Cost(nbytes(q, k, v) + tokens * channels * size, 4.0 * tokens * channels * channels / heads, unit)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields the attention of Meta-SpikeFormer 31M at batch 32 and 1, bfloat16."""
    for batch in (32, 1):
        q, k, v = (
            spikes(4, batch, 196 + i, 512, rate=0.06, device=device, dtype=torch.bfloat16)[:, :, i:] for i in range(3)
        )
        yield Example(f"[4, {batch}, 196, 512], 8 heads, bf16", (q, k, v, 8))


register_kernel(
    Kernel(
        name=NAME,
        summary="spike-driven self-attention with its neuron",
        function=sdsa_lif,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        gradients=gradients,
        workloads=workloads,
    )
)
