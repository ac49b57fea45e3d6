"""What tests and benchmarks need of `gate_lif`: gradients, cost and workloads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.kernels.common.differentiable import neuron
from neurokit.kernels.contract import Cost, Example, GradientCase, Kernel, nbytes, register_kernel, spikes
from neurokit.kernels.gate_lif.examples import examples, op_examples
from neurokit.kernels.gate_lif.op import NAME, gate_lif


def gradients(device: torch.device) -> Iterator[GradientCase]:
    """Yields a case for each thing that is added, with and without a second operand."""
    inputs = tuple(
        spikes(3, 2, 9 + i, 32, rate=0.3, device=device, dtype=torch.float32)[:, :, i:].clone() for i in range(3)
    )

    def tokens(mask: Tensor, a: Tensor, b: Tensor) -> Any:
        return gate_lif(mask, a, b, scale=0.125, threshold=0.1, want_gate=True)

    def exact_tokens(mask: Tensor, a: Tensor, b: Tensor) -> Any:
        x = torch.einsum("tbnc,tbnc->tbc", a, b) * 0.125
        gate = neuron(x, torch.zeros_like(x[0]), 0.5, threshold=0.1)[0].unsqueeze(2)
        return mask * gate, gate

    def channels(mask: Tensor, a: Tensor) -> Any:
        return gate_lif(mask, a, over="channels", heads=2, scale=0.125, threshold=0.5)[:1]

    def exact_channels(mask: Tensor, a: Tensor) -> Any:
        x = torch.stack([a[..., :16].sum(3), a[..., 16:].sum(3)], 3) * 0.125
        gate = neuron(x, torch.zeros_like(x[0]), 0.5, threshold=0.5)[0]
        return (torch.cat([mask[..., :16] * gate[..., :1], mask[..., 16:] * gate[..., 1:]], 3),)

    yield GradientCase("products over tokens", inputs, tokens, exact_tokens, 1e-5)
    yield GradientCase("over channels of two heads", inputs[:2], channels, exact_channels, 1e-5)


def cost(example: Example) -> Cost:
    """Reads what is added and what is let through, and writes as many spikes; the additions are few."""
    given = {id(x): x for x in example.args if isinstance(x, Tensor)}.values()
    mask, kwargs = example.args[0], example.kwargs
    channels = kwargs.get("channels") or mask.shape[-1]
    size = {"packed": 1 / 8, "int8": 1}.get(kwargs.get("form", "same"), mask.itemsize)
    return Cost(nbytes(*given) + mask.numel() // max(mask.shape[-1], 1) * channels * size)


def workloads(device: torch.device) -> Iterator[Example]:
    """Yields the attention of the Spike-driven Transformer V1 8-384, and QKFormer's of tokens, at batch 32."""
    q, k, v = (spikes(4, 32, 196 + i, 384, rate=0.1, device=device)[:, :, i:].contiguous() for i in range(3))
    yield Example("[4, 32, 196, 384] int8, K * V over tokens", (q, k, v), {"form": "int8", "want_gate": True})
    q, k = (spikes(4, 32, 3136 + i, 96, rate=0.1, device=device)[:, :, i:].contiguous() for i in range(2))
    given = {"form": "int8", "over": "channels", "heads": 1}
    yield Example("[4, 32, 3136, 96] int8, over channels", (k, q), given)


register_kernel(
    Kernel(
        name=NAME,
        summary="spikes let through by neurons that fire on a sum of spikes (SDSA-1, QKFormer)",
        function=gate_lif,
        op=NAME,
        examples=examples,
        op_examples=op_examples,
        cost=cost,
        gradients=gradients,
        workloads=workloads,
    )
)
