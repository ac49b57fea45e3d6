"""Thresholds that are never reached: an infinite one, as of readouts, becomes a number that every form can hold."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_NAMES = ("v_threshold", "threshold")
#: Stands for infinity: sums of a network's membranes stay far below, and twice it is still a number of its type.
_NEVER = {"float16": 2.0**14}
_NEVER_ELSE = 2.0**40


def finite_thresholds(net: nn.Module) -> list[str]:
    """Replaces infinite thresholds of a private copy; returns a note for the user where there were any.

    Neither a manifest nor the equations of a soft reset (0 times the threshold) can hold infinity.
    """
    first = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    never = _NEVER.get(str(first).removeprefix("torch."), _NEVER_ELSE)
    changed = 0
    for part in net.modules():
        for name in _NAMES:
            value = getattr(part, name, None)
            if isinstance(value, float) and math.isinf(value) and value > 0:
                setattr(part, name, never)
                changed += 1
            elif isinstance(value, Tensor) and value.is_floating_point() and bool((value == math.inf).any()):
                with torch.no_grad():
                    value.masked_fill_(value == math.inf, never)
                changed += 1
    return [f"{changed} infinite threshold(s) are written as {never:.3g}, which no membrane reaches"] if changed else []
