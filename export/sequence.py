"""States and reduction of a sequence that is run step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.dims import BATCH, evaluate
from neurokit.errors import InputError, damaged
from neurokit.plain import check_regular

_MOST_NUMBERS = 2**32  # of one state, as of one input of a capture


class StepLimit:
    """Counts the steps of a stream whose model has rows of a table for so many (`neurokit.export.most_steps`).

    Args:
        info: The manifest's `target_info`.

    Attributes:
        made: Steps since the last reset.
    """

    def __init__(self, info: Mapping[str, Any]) -> None:
        self._most: int | None = info.get("most_steps")
        self.made = 0

    def refuse(self) -> None:
        """Refuses one step more than there are rows for.

        Raises:
            InputError: If the stream has made all of them.
        """
        if self._most is not None and self.made >= self._most:
            raise InputError(
                f"the model reads a table by the number of the step, and has rows for {self._most} steps",
                expected=f"at most {self._most} steps after a reset",
                fix="reset before a new sequence",
            )


def initial_states(
    states: Any, batch: int, dims: Mapping[str, Any] | None = None, folder: Path | None = None
) -> dict[str, np.ndarray]:
    """Returns every state's initial value, by the name of its input.

    Args:
        states: States as a manifest lists them.
        batch: Number of independent streams.
        dims: Bounds of free axes; an axis that grows starts at its smallest size.
        folder: The artifact's folder, which holds the files that states start from.

    Raises:
        ArtifactError: If one of these files holds something else than a state's numbers.
        InputError: If there are more streams than any machine holds the states of.
    """
    sizes = {name: _smallest(bounds) for name, bounds in (dims or {}).items()} | {BATCH: batch}
    feeds = {}
    for state in states:
        shape = [evaluate(size, sizes) for size in state.shape]
        refuse_streams(batch, math.prod(shape))
        value = state.init
        if folder is not None and isinstance(value, str):
            value = _kept(folder, state, shape)
        zero = isinstance(value, int | float) and value == 0
        feeds[state.input] = np.zeros(shape, state.dtype) if zero else np.full(shape, value, dtype=state.dtype)
    return feeds


def refuse_streams(batch: int, numbers: int) -> None:
    """Refuses states that no machine holds, before they are made.

    Args:
        batch: Number of independent streams.
        numbers: How many numbers a state of all of them has.

    Raises:
        InputError: If these are more than an input may have.
    """
    if numbers > _MOST_NUMBERS:
        said = f"a state of {batch:,} streams has {numbers:.3g} numbers"
        raise InputError(said, expected=f"at most {_MOST_NUMBERS:.3g}", fix="fewer streams")


def _kept(folder: Path, state: Any, shape: list[int]) -> np.ndarray:
    """Returns what a state of one sample starts from, of a file of the artifact."""
    try:
        value = np.load(check_regular(folder / state.init), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(folder, f"{state.init} is no array: {' '.join(str(error).split())[:120]}") from error
    if value.dtype != np.dtype(state.dtype) or value.shape not in (tuple(shape[1:]), (1, *shape[1:])):
        found = f"{value.dtype} {list(value.shape)}"
        raise damaged(folder, f"{state.init} holds {found}, the state it starts is {state.dtype} {shape[1:]}")
    return value


def _smallest(bounds: Any) -> int:
    return int(bounds["min"] if isinstance(bounds, Mapping) else bounds.min)


def reduce_steps(steps: np.ndarray, time_output: str) -> np.ndarray:
    """Returns what a sequence form puts out, from the outputs of its steps `[T, B, ...]`.

    Args:
        steps: One output a step.
        time_output: "mean", "sum", "last" or "max"; anything else keeps the steps.
    """
    if time_output == "last":
        return steps[-1]
    if time_output == "max":
        return steps.max(axis=0)
    if time_output not in ("mean", "sum"):
        return steps
    total = steps.sum(axis=0, dtype=steps.dtype)
    return total / steps.dtype.type(len(steps)) if time_output == "mean" else total
