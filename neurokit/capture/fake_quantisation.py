"""Fake quantisation as plain operations: torch's own operator has no counterpart in any lowered form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurokit.capture.masked_parts import MaskedParts


def per_tensor(x: Tensor, scale: Tensor | float, zero_point: Tensor | int, quant_min: int, quant_max: int) -> Tensor:
    """Returns what `torch.fake_quantize_per_tensor_affine` does, operation by operation.

    As in ATen, the reciprocal of the scale is rounded once, and the zero point is added behind the rounding.
    """
    one = torch.ones((), dtype=x.dtype)
    step = torch.as_tensor(scale, dtype=x.dtype)
    levels = torch.round(x * (one / step)) + zero_point
    return (levels.clamp(quant_min, quant_max) - zero_point) * step


def per_channel(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int) -> Tensor:
    """Returns what `torch.fake_quantize_per_channel_affine` does, operation by operation."""
    shape = [-1 if at == axis % x.dim() else 1 for at in range(x.dim())]
    return per_tensor(x, scale.reshape(shape), zero_point.reshape(shape), quant_min, quant_max)


class WrittenOut(MaskedParts):
    """Writes fake quantisation out while it is in force, and does what `MaskedParts` does.

    Both in one: a trace asks every mode of every size that it reads.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.fake_quantize_per_tensor_affine:
            func = per_tensor
        elif func is torch.fake_quantize_per_channel_affine:
            func = per_channel
        return super().__torch_function__(func, types, args, kwargs)
