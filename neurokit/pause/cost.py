"""What a pause costs: the joules of one token more by its equations, and the milliseconds of a step, measured."""

from __future__ import annotations

import functools
import operator
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit import pipeline
from neurokit.artifact import Artifact
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.spec import ModelSpec
from neurokit.tasks.decoding import Loop

if TYPE_CHECKING:
    from neurokit.hw_sim.chips.profile import HardwareProfile

REPEATS = 30


@dataclass(frozen=True)
class PauseCost:
    """What one pause more costs behind so many tokens.

    Attributes:
        before: Tokens in front of it.
        joules: By chip, energy of the token (analytic: counts by equations times a chip's prices) as far as the chip
            has prices: a lower bound.
        time: Median time of a step of one token, measured; None without an artifact.
    """

    before: int
    joules: dict[str, Quantity]
    time: Quantity | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        priced = {name: value.to_json() for name, value in self.joules.items()}
        return {"before": self.before, "joules": priced, "time": None if self.time is None else self.time.to_json()}


def pause_cost(
    spec: ModelSpec, before: int, chips: Sequence[HardwareProfile] = (), artifact: Artifact | str | Path | None = None
) -> PauseCost:
    """Returns what a pause costs as the next token behind `before` others.

    Args:
        spec: The language model.
        before: Tokens in front of it.
        chips: Chips whose prices are asked (`neurokit energy LM --tokens`).
        artifact: The model's step form; if given, a step is timed on this machine.

    Raises:
        InputError: If the model says nothing of tokens, or cannot have so many.
    """
    from neurokit.hw_sim.tokens import token_energy

    report = token_energy(spec, before + 1, chips)
    joules = {row.chip: functools.reduce(operator.add, row.energy.values()) for row in report.chips if row.energy}
    return PauseCost(before, joules, None if artifact is None else step_time(artifact, before))


def step_time(artifact: Artifact | str | Path, before: int, repeats: int = REPEATS) -> Quantity:
    """Returns the median time of a step of one token behind `before` others, with the fastest and slowest as ends.

    Every repetition feeds the prompt again, so each step stands at the same place.

    Raises:
        InputError: If the artifact is no step form of a language model, or cannot take so many tokens.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    task = artifact.manifest.task
    loop = Loop.of(task.settings if task else {}, str(artifact.path))
    if artifact.manifest.form != "step" or not 1 <= before < loop.longest:
        raise InputError(
            f"a step behind {before} tokens of {artifact.path}, form {artifact.manifest.form!r}",
            expected=f"the step form, 1 to {loop.longest - 1} tokens",
        )
    ids = np.random.default_rng(0).integers(0, loop.vocabulary, (1, before))
    one, seconds = np.zeros((1, 1), np.int64), []
    with pipeline.open(artifact) as runner:
        for _ in range(repeats + 1):
            runner.reset(1)
            runner.step({loop.ids: ids})
            start = time.perf_counter()
            runner.step({loop.ids: one})
            seconds.append(time.perf_counter() - start)
    taken = sorted(seconds[1:])  # the first one allocates
    middle = statistics.median(taken)
    source = f"median of {repeats} steps behind {before} tokens, {artifact.manifest.target} on this machine"
    return Quantity(middle, taken[0], taken[-1], "s", "measured", source)
