"""How a neuron of a twin begins: from rest, or from what the module's own code wrote before its first call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurokit.capture.slots import Slot


def note_written(slot: Slot) -> set[str]:
    """Notes which memories of a neuron the module's code has set since the twin or the last call did.

    What is set before the first call is noted in `written`, so that `initial_values.learn_starts` finds it.

    Returns:
        The names of those that are no known initial values: the call starts from what they hold.
    """
    memories: dict[str, Any] = slot.module._memories  # type: ignore[assignment]
    if len(memories) != len(slot.values):
        return set()
    held = zip(memories.items(), slot.values, strict=True)
    changed = {name: now for (name, now), value in held if now is not value}
    if slot.calls > 1:
        slot.rewritten = slot.rewritten or bool(changed)
        return set(changed)
    slot.written = changed
    return set(changed) - set(slot.starts)


def begun(slot: Slot, states: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the states `[B, ...]` of a call: before the first, those that the program is not given as they start."""
    if slot.calls != 1 or not (slot.starts or slot.written):
        return tuple(states)
    made = []
    for name, state in zip(slot.module._memories, states, strict=True):  # type: ignore[arg-type]
        if name in slot.written:
            slot.written[name] = _as_state(slot.written[name], state)
        if name in slot.starts and name not in slot.names:
            state = torch.zeros_like(state) + slot.starts[name].to(state)
        made.append(state)
    return tuple(made)


def _as_state(value: Any, like: Tensor) -> Tensor | None:
    """Returns a written state, or None for one that SpikingJelly drops: its shape is not that of the input."""
    if not isinstance(value, Tensor):
        return torch.full_like(like, float(value)) if isinstance(value, int | float) else None
    return value.to(like) if value.shape == like.shape else None


def numbers(start: Tensor) -> float | np.ndarray:
    """Returns an initial value as a state has it: one number where all elements are equal and real."""
    values = (start.float() if start.dtype == torch.bfloat16 else start).cpu().numpy()
    first = values.reshape(-1)[0] if values.size else 0.0
    return values if start.is_complex() or not bool((values == first).all()) else float(first)
