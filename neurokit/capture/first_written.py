"""What a module's own code writes into its attributes first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def first_written(part: nn.Module) -> Iterator[dict[str, Any]]:
    """Notes the first value that is written into each attribute of a module while it runs, by name."""
    kind, first = type(part), dict[str, Any]()

    def note(self: nn.Module, name: str, value: Any) -> None:
        first.setdefault(name, value)
        kind.__setattr__(self, name, value)

    part.__class__ = type(kind.__name__, (kind,), {"__setattr__": note, "__module__": kind.__module__})
    try:
        yield first
    finally:
        part.__class__ = kind


def one_number(value: Any) -> float | None:
    """Returns the number that every element of a tensor is, or None."""
    if not isinstance(value, Tensor) or not value.numel() or value.is_complex():
        return None
    first = value.reshape(-1)[0]
    return float(first) if bool((value == first).all()) else None
