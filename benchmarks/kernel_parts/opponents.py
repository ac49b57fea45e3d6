"""What the kernels are measured against: the neuron in plain PyTorch, and SpikingJelly's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def unrolled(x: Tensor, threshold: float = 1.0) -> Tensor:
    """The neuron in plain PyTorch with a float32 membrane: what torch.compile fuses into one pass."""
    v = torch.zeros_like(x[0], dtype=torch.float32)
    out = []
    for now in x:
        v = v + (now.float() - v) * 0.5
        s = v >= threshold
        out.append(s.to(x.dtype))
        v = torch.where(s, 0.0, v)
    return torch.stack(out)


def unrolled_training(x: Tensor) -> Tensor:
    """The same with the sigmoid surrogate gradient, the reset detached."""
    v = torch.zeros_like(x[0], dtype=torch.float32)
    out = []
    for now in x:
        h = v + (now.float() - v) * 0.5
        soft = torch.sigmoid(4.0 * (h - 1.0))
        fired = (h >= 1.0).float()
        out.append((fired + soft - soft.detach()).to(x.dtype))
        v = (1.0 - fired) * h
    return torch.stack(out)


def product_then_neuron(s: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """The vendor's product and an epilogue that torch.compile makes."""
    return unrolled(nn.functional.linear(s, w) + b)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Spike-driven self-attention with 8 heads and its neuron."""
    q, k, v = (x.unflatten(3, (8, -1)).transpose(2, 3) for x in (q, k, v))
    y = (q @ (k.transpose(-1, -2) @ v)) * 0.125
    return unrolled(y.transpose(2, 3).flatten(3), 0.5)


@functools.cache
def compiled(function: Callable[..., Any], mode: str | None = None) -> Callable[..., Any]:
    """Returns torch.compile of a function, for each shape anew."""
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(function, mode=mode, dynamic=False)


@functools.cache
def _sigmoid() -> Any:
    from spikingjelly.activation_based import surrogate

    return surrogate.Sigmoid()


def spikingjelly(x: Tensor, v: Tensor) -> Any:
    """SpikingJelly 2.0's LIF over all steps, with the path that it chooses itself."""
    from spikingjelly.activation_based import functional

    return functional.lif_multi_step(x, v, 2.0, True, 1.0, 0.0, _sigmoid(), True)
