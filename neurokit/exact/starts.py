"""Initial membranes of an exact form: those that are no reset value are rounded to a grid of the threshold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from neurokit.capture import Captured, StateInfo

_BITS = 8  # of the threshold, as many as a weight has


def rounded_starts(captured: Captured) -> Captured:
    """Returns a capture whose neurons start from membranes on a grid of 2**-8 of their threshold's power of two.

    A learnt membrane has all bits of its type; as many would be needed of every sum that follows it.
    """
    states = tuple(_rounded(captured, state) for state in captured.states)
    return replace(captured, states=states)


def _rounded(captured: Captured, state: StateInfo) -> StateInfo:
    neuron = next((n for n in captured.neurons if n.path == state.neuron), None)
    threshold = abs(float(neuron.parameters.get("v_threshold") or 0.0)) if neuron else 0.0
    rest = neuron.parameters.get("v_reset") if neuron else None
    if state.memory != "v" or not threshold or (state.uniform and state.init in (rest, 0.0)):
        return state
    grid = 2.0 ** (math.ceil(math.log2(threshold)) - _BITS)
    start = np.round(np.asarray(state.start(), np.float64) / grid) * grid
    return replace(state, init=float(start) if start.ndim == 0 else start.astype(state.dtype))
