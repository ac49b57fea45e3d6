"""How a neuron of a twin begins: from rest, or from what the module's own code wrote before its first call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import base
from torch import Tensor

from neurokit.capture.neurons import States
from neurokit.capture.slots import Slot


def materialized(slot: Slot, x: Tensor, has_time: bool) -> States:
    """Returns a neuron's states as tensors, for its input `[T, B, ...]`, or `[B, ...]` without time.

    Before the first call of a run, states that are not the program's own begin as the slot's `starts` say; what the
    module's code wrote there is noted in its `written`, so that `initial_values.learn_starts` finds it.
    """
    module = slot.module
    if not isinstance(module, base.MemoryModule):
        return slot.values
    mode = "m" if has_time else "s"
    written = _written(slot, module) if slot.calls == 1 else {}
    if not written and not (slot.calls == 1 and slot.starts):
        return tuple(module.materialize_states((x,), slot.values, mode))
    names = list(module._memories)
    begins = [name not in slot.names and (name in written or name in slot.starts) for name in names]
    rest = tuple(0.0 if begin else value for begin, value in zip(begins, slot.values, strict=True))
    states = list(module.materialize_states((x,), rest, mode))
    for at, name in enumerate(names):
        if begins[at] and name in written:
            slot.written[name] = _rows(written[name], states[at], x)
        if begins[at] and name in slot.starts:
            states[at] = torch.zeros_like(states[at]) + slot.starts[name].to(states[at])
        elif begins[at] and isinstance(slot.values[at], int | float):
            states[at] = torch.full_like(states[at], float(slot.values[at]))
    return tuple(states)


def _written(slot: Slot, module: base.MemoryModule) -> dict[str, Any]:
    """Returns the memories that the module's code has set since the neuron was put to rest.

    One whose reset value is a tensor counts: it is no single number that a state could start from.
    """
    held = zip(module._memories.items(), slot.initial, strict=True)
    return {name: value for (name, value), rest in held if _set(value, rest)}


def _set(value: Any, rest: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() > 0
    return isinstance(value, int | float) and isinstance(rest, int | float) and value != rest


def _rows(value: Any, like: Tensor, x: Tensor) -> Tensor | None:
    """Returns a written state `[rows, ...]`, or None if SpikingJelly would drop it: its shape must be the input's.

    Where the module takes one step a call, the rows that its code sees are those of all steps, `T * B`.
    """
    if not isinstance(value, Tensor):
        return torch.full_like(like, float(value))
    steps = x.shape[0] if x.dim() > like.dim() else 1
    fits = value.shape[1:] == like.shape[1:] and value.shape[0] in (like.shape[0], steps * like.shape[0])
    return value.to(like) if fits else None


def numbers(start: Tensor) -> float | np.ndarray:
    """Returns an initial value as a state has it: one number where all elements are equal."""
    values = (start.float() if start.dtype == torch.bfloat16 else start).cpu().numpy()
    first = values.reshape(-1)[0] if values.size else 0.0
    return float(first) if bool((values == first).all()) else values
