"""Contexts of a user's forward that are no part of what it computes: automatic precision, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

import torch
from torch import nn
from torch.amp.autocast_mode import autocast
from torch.fx import node as fx_node

from neurokit.errors import Unsupported, UnsupportedError


@contextmanager
def plain_contexts() -> Iterator[None]:
    """Leaves contexts of gradients, and of automatic precision that is off or for another device, out of a trace.

    torch.export would put what runs in them into programs of their own. A forward that lowers its precision on the CPU
    is refused: the operations of the program would be those of float32.
    """
    preserved: list[Callable[..., Any]] = fx_node._side_effectful_need_to_be_preserved_pre_dispatch
    recorded = list(preserved)
    enter, leave = autocast.__enter__, autocast.__exit__
    preserved[:] = [function for function in recorded if function is not torch._C._set_grad_enabled]
    autocast.__enter__, autocast.__exit__ = _entered, _left  # type: ignore[method-assign]
    try:
        yield
    finally:
        preserved[:] = recorded
        autocast.__enter__, autocast.__exit__ = enter, leave  # type: ignore[method-assign]


def _entered(self: autocast) -> autocast:
    if self._enabled and self.device == "cpu":
        dtype = str(self.fast_dtype).removeprefix("torch.")
        why = f"its forward computes under torch.autocast in {dtype}, which no form has"
        fix = "--transform float32 (it runs in float32 then), or autocast outside of forward, in training alone"
        raise UnsupportedError("a forward lowers its own precision", [Unsupported("", "autocast", why, fix)])
    return self


def _left(self: autocast, *_: Any) -> None:
    """Nothing was entered."""


def names_autocast(module: nn.Module) -> bool:
    """Returns whether the forward of a module or of a part of it names autocast."""
    forwards = (vars(cls).get("forward") for part in module.modules() for cls in type(part).__mro__)
    return any(_named_in(code) for code in (getattr(each, "__code__", None) for each in forwards) if code is not None)


def _named_in(code: CodeType) -> bool:
    if code.co_name == "decorate_autocast" or "autocast" in code.co_names:
        return True
    return any(_named_in(inner) for inner in code.co_consts if isinstance(inner, CodeType))


@contextmanager
def without_autocast() -> Iterator[None]:
    """Runs what is inside in the types that it names itself."""
    enter, leave = autocast.__enter__, autocast.__exit__
    autocast.__enter__, autocast.__exit__ = (lambda self: self), _left  # type: ignore[method-assign]
    try:
        yield
    finally:
        autocast.__enter__, autocast.__exit__ = enter, leave  # type: ignore[method-assign]
