"""Reading and replacing the tensors of a captured program."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def fetch(module: nn.Module, path: str) -> Any:
    """Returns the tensor at a dotted path."""
    *parents, name = path.split(".")
    for parent in parents:
        module = getattr(module, parent)
    return getattr(module, name)


def store(module: nn.Module, path: str, value: Tensor) -> None:
    """Puts a tensor at a dotted path, as a parameter without gradient."""
    *parents, name = path.split(".")
    for parent in parents:
        if not hasattr(module, parent):
            module.add_module(parent, nn.Module())
        module = getattr(module, parent)
    if name in module._buffers:
        del module._buffers[name]
    setattr(module, name, nn.Parameter(value.detach().clone(), requires_grad=False))
