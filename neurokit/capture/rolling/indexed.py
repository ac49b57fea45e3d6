"""Reading and writing at computed places, for all T steps at once: the step becomes one more index, the first."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
INDEXED = (aten.index.Tensor, aten.index_put.default)


def fits(target: Any, places: Collection[int], args: Any, kwargs: Any) -> bool:
    """Returns whether `indexed` takes an operation: every axis up to the last index has a tensor of whole numbers."""
    if target not in INDEXED or kwargs or not all(isinstance(index, Tensor) for index in args[1]):
        return False
    return bool(places) and not any(index.dtype == torch.bool for index in args[1])


def indexed(target: Any, places: Collection[int], args: Any) -> Tensor:
    """Runs it for all steps.

    Args:
        target: `aten.index` or `aten.index_put`.
        places: Which of the flattened arguments are stacked `[T, ...]`.
        args: A tensor, its indices, and for the second values and whether they are added.
    """
    x, indices = args[0], list(args[1])
    steps = next(value.shape[0] for at, value in enumerate((x, *indices, *args[2:3])) if at in places)
    if 0 not in places:
        x = x.unsqueeze(0).expand(steps, *x.shape)
    own = [index.dim() - (at in places) for at, index in enumerate(indices, 1)]
    rank = max(own)
    first = torch.arange(steps, device=x.device).reshape(-1, *[1] * rank)
    full = [first, *(_padded(index, rank, at in places) for at, index in enumerate(indices, 1))]
    if target is aten.index.Tensor:
        return target(x, full)
    value = _padded(args[2], rank + x.dim() - 1 - len(indices), len(indices) + 1 in places)
    return target(x, full, value, *args[3:])


def _padded(value: Tensor, rank: int, stacked: bool) -> Tensor:
    """Gives a stacked value `[T, *shape]` as many axes behind T as the operation of one step has."""
    return value.reshape(value.shape[0], *[1] * (rank + 1 - value.dim()), *value.shape[1:]) if stacked else value
