"""What the reference made of single steps of a layer of rare neurons: inputs, states, results and their tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OP = "stepwise"  # of a layer whose neuron is known by its step alone


@dataclass(frozen=True)
class Steps:
    """Single steps of one layer, each from states of its own, and what its states are before the first one.

    The results are an output and the states after the step, kept at some places only. Where a perturbation of the
    operands by a few roundings lets the neuron decide otherwise, the tolerance is as wide as the jump: undecided.

    Attributes:
        starts: Every state before the layer's first step, `[B, ...]`, or `[1, ...]` where all samples have the same.
        currents: Input of every step, `[K, B, ...]`.
        before: Every state before every step, `[K, B, ...]`.
        places: Flat indices into one step's output, and into each state, of what was kept.
        wanted: Results at these places, `[K, kept]`: the output, then the states.
        allowed: How far another implementation may be from each of them.
        ends: Smallest and largest output that was seen.
        scale: Magnitude of the step's own constants, which its roundings are a share of.
        at_threshold: Elements of these steps that stand exactly at a threshold, where `>` and `>=` part.
    """

    starts: tuple[np.ndarray, ...]
    currents: np.ndarray
    before: tuple[np.ndarray, ...]
    places: tuple[np.ndarray, ...]
    wanted: tuple[np.ndarray, ...]
    allowed: tuple[np.ndarray, ...]
    ends: tuple[float, float]
    scale: float
    at_threshold: int = 0

    def head(self) -> dict[str, Any]:
        """Returns what is not an array."""
        return {
            "states": len(self.starts),
            "ends": list(self.ends),
            "scale": self.scale,
            "at_threshold": self.at_threshold,
        }

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the arrays by their names in the file."""
        found = {f"{prefix}x": self.currents}
        for index, (start, before) in enumerate(zip(self.starts, self.before, strict=True)):
            found |= {f"{prefix}v{index}": start, f"{prefix}b{index}": before}
        for index, kept in enumerate(zip(self.places, self.wanted, self.allowed, strict=True)):
            found |= {f"{prefix}{key}{index}": value for key, value in zip(("p", "w", "a"), kept, strict=True)}
        return found

    @classmethod
    def read(cls, head: Mapping[str, Any], data: Mapping[str, np.ndarray], prefix: str) -> Steps:
        """Returns what `head` and `arrays` hold."""
        states, results = range(int(head["states"])), range(int(head["states"]) + 1)
        low, high = head["ends"]
        return cls(
            tuple(data[f"{prefix}v{index}"] for index in states),
            data[f"{prefix}x"],
            tuple(data[f"{prefix}b{index}"] for index in states),
            tuple(data[f"{prefix}p{index}"] for index in results),
            tuple(data[f"{prefix}w{index}"] for index in results),
            tuple(data[f"{prefix}a{index}"] for index in results),
            (float(low), float(high)),
            float(head["scale"]),
            int(head.get("at_threshold", 0)),
        )

    def fault(self, shape: tuple[int, ...]) -> str:
        """Returns why these are no steps of a layer with outputs `[T, B, ...]` of a shape, or ""."""
        if self.currents.ndim != len(shape) or self.currents.shape[1:] != shape[1:] or not len(self.currents):
            return "have steps of another shape"
        sizes = [self.currents[0].size]
        for start, before in zip(self.starts, self.before, strict=True):
            fits = len(before) == len(self.currents) and start.shape[1:] == before.shape[2:]
            if not fits or start.dtype != before.dtype or len(start) not in (1, before.shape[1]):
                return "have states of another shape"
            sizes.append(before[0].size)
        for size, at, wanted, allowed in zip(sizes, self.places, self.wanted, self.allowed, strict=True):
            kept = (len(self.currents), at.size)
            if at.dtype.kind not in "iu" or at.ndim != 1 or wanted.shape != kept or allowed.shape != kept:
                return "keep results of steps of another shape"
            if at.size and not 0 <= int(at.min()) <= int(at.max()) < size:
                return "keep results outside of the layer"
        finite = np.isfinite([self.scale, *self.ends]).all() and not any(np.isnan(a).any() for a in self.allowed)
        return "" if finite and self.scale >= 0 else "keep no tolerance of a step"

    def start(self, batch: int) -> tuple[np.ndarray, ...]:
        """Returns every state before the first step for a number of samples."""
        return tuple(
            np.ascontiguousarray(np.repeat(start[:1], batch, 0) if len(start) != batch else start)
            for start in self.starts
        )

    def drawn(self, bits: np.ndarray) -> np.ndarray:
        """Returns outputs at either end of what was seen, as random bits say."""
        low, high = self.ends
        made = np.where(bits.astype(bool), self.currents.dtype.type(high), self.currents.dtype.type(low))
        return made.astype(self.currents.dtype)
