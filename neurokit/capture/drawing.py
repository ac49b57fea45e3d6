"""Random values for the ports of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.spec import TensorSpec


def random_values(port: TensorSpec, like: Tensor, spread: float | None, generator: torch.Generator) -> Tensor:
    """Returns numbers in a port's range, or normal ones of a spread; whole numbers and booleans stay in their range."""
    if spread is not None and like.is_floating_point():
        return torch.randn(like.shape, generator=generator, dtype=torch.float64) * spread
    if not like.is_floating_point():
        return uniform(port, tuple(like.shape), generator)
    return torch.rand(like.shape, generator=generator, dtype=torch.float64) * (port.high - port.low) + port.low


def uniform(port: TensorSpec, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Returns uniform values from a port's low to its high, whole numbers both ends included."""
    dtype = getattr(torch, port.dtype)
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) < (port.low + port.high) / 2
    if not dtype.is_floating_point:
        return torch.randint(int(port.low), int(port.high) + 1, shape, generator=generator).to(dtype)
    values = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (values * (port.high - port.low) + port.low).to(dtype)
