"""Runs a module's own code in one type of fractions, whatever types it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from neurokit.capture.contexts import without_autocast

_OTHERS = (torch.float64, torch.float16, torch.bfloat16)
_CASTS = frozenset({Tensor.double, Tensor.half, Tensor.bfloat16})


class _InSingle(TorchFunctionMode):
    """Reads every request for another type of fractions as one for float32."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _CASTS:
            return args[0].float()
        args, kwargs = tree_map(_single, (args, kwargs or {}))
        return func(*args, **kwargs)


def _single(value: Any) -> Any:
    return torch.float32 if isinstance(value, torch.dtype) and value in _OTHERS else value


class InSingle(nn.Module):
    """Base of what `in_single` returns."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the module's own forward in float32."""
        with _InSingle(), without_autocast():
            return super().forward(*args, **kwargs)


def in_single(module: nn.Module) -> nn.Module:
    """Lets a module compute in float32; its parts, their paths and the numbers of its weights stay as they are.

    A weight in float16 or bfloat16 is the same number in float32; one in float64 is rounded.
    """
    kind = type(module)
    module.__class__ = type(kind.__name__, (InSingle, kind), {"__module__": kind.__module__})
    return module.float()


def other_floats(module: nn.Module) -> set[str]:
    """Returns the types of fractions beside float32 that a module's parameters and buffers have."""
    values = (*module.parameters(), *module.buffers())
    return {str(value.dtype).removeprefix("torch.") for value in values if value.dtype in _OTHERS}
