"""Memories of a user's own class that hold nothing (None) until its first step makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.capture.legacy import steps_of_its_own_code
from neurokit.capture.slots import Slot

_GRID = 1e4  # of starts that were solved for: steps are rounded, the numbers that people write are short


class _FirstWritten(dict[str, Any]):
    """Memories that note what each is set to first."""

    def __init__(self, held: dict[str, Any]) -> None:
        super().__init__(held)
        self.first: dict[str, Any] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        self.first.setdefault(name, value)
        super().__setitem__(name, value)


def starts_from_nothing(module: nn.Module, states: Sequence[Any]) -> bool:
    """Returns whether a class that says itself what a step is begins with memories that are None."""
    return any(value is None for value in states) and steps_of_its_own_code(type(module))


def from_nothing(slot: Slot, x: Tensor, states: Sequence[Any], *, noting: bool) -> tuple[Any, ...]:
    """Returns states in which zeros of the shape that a first step leaves stand for None.

    Args:
        slot: The module, before its first step.
        x: The input of the first step, `[B, ...]`.
        states: Its states; they stay as they are.
        noting: Whether what it starts from is noted as what the module's code set before its first call: where that
            is the same for all samples and inputs, `initial_values.learn_starts` takes it for the start.
    """
    module: Any = slot.module
    after, first = _stepped(module, x, states)
    missing = [at for at, value in enumerate(states) if value is None and isinstance(after[at], Tensor)]
    zeros = [torch.zeros_like(after[at]) if at in missing else value for at, value in enumerate(states)]
    if noting:
        names = list(module._memories)
        from_zero, _ = _stepped(module, x, zeros)
        for at in missing:
            from_one, _ = _stepped(
                module, x, [value + (at == place) if place in missing else value for place, value in enumerate(zeros)]
            )
            slot.written[names[at]] = _start(first.get(names[at]), after[at], from_zero[at], from_one[at])
    return tuple(zeros)


def _stepped(module: Any, x: Tensor, states: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Takes one step from the states; returns the states after it, and what each was set to first."""
    held, module._memories = module._memories, _FirstWritten(dict(zip(module._memories, states, strict=True)))
    try:
        module.single_step_forward(x)
        return list(module._memories.values()), module._memories.first
    finally:
        module._memories = held


def _start(first: Any, after: Tensor, from_zero: Tensor, from_one: Tensor) -> Tensor:
    """Returns what a state starts from: what was written first where all samples agree, else what would lead to it.

    A step is taken for affine in the state there; whether the start is right, the comparison with the module decides.
    """
    slope = from_one - from_zero
    led = torch.where(slope != 0, (after - from_zero) / slope, torch.zeros_like(slope))
    solved = (led.median() * _GRID).round() / _GRID + torch.zeros_like(after)
    if not isinstance(first, Tensor) or first.shape != after.shape:
        return solved
    return torch.where((first == first[:1]).all(), first, solved)
