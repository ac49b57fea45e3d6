"""States and reduction of a sequence that is run step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurokit.dims import BATCH, evaluate


def initial_states(states: Any, batch: int) -> dict[str, np.ndarray]:
    """Returns every state's initial value, by the name of its input (states as a manifest lists them)."""
    feeds = {}
    for state in states:
        shape = [evaluate(size, {BATCH: batch}) for size in state.shape]
        feeds[state.input] = np.full(shape, state.init, dtype=state.dtype)
    return feeds


def reduce_steps(steps: np.ndarray, time_output: str) -> np.ndarray:
    """Returns what a sequence form puts out, from the outputs of its steps `[T, B, ...]`.

    Args:
        steps: One output a step.
        time_output: "mean", "sum" or "last"; anything else keeps the steps.
    """
    if time_output == "last":
        return steps[-1]
    if time_output not in ("mean", "sum"):
        return steps
    total = steps.sum(axis=0, dtype=steps.dtype)
    return total / steps.dtype.type(len(steps)) if time_output == "mean" else total
