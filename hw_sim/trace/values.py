"""What a tensor of the traced program is made of: which neuron or which output of a connection each element is.

Every element carries a number: time step x size + position. Reshaping, permuting, slicing, padding or joining tensors
does the same to their numbers, so that exact connections come out whatever a model does between two layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokit.hw_sim.projection import Projection


@dataclass(frozen=True)
class Term:
    """One addend of a tensor: values of a population, or of a connection that nobody has received yet.

    Attributes:
        source: Name of a population, or a projection without a target.
        ids: For each element of the tensor time step x size + position, or -1 for a constant.
        size: Positions of one time step.
        static: Whether the source has no time axis (an image that is shown in every step).
    """

    source: str | Projection
    ids: Tensor
    size: int
    static: bool = False

    def per_step(self, steps: int) -> NDArray[np.int64] | None:
        """Returns the position of each element of one time step, or None if time steps are mixed."""
        if self.static and self.ids.shape[0] == 1:
            return self.ids.reshape(-1).numpy().astype(np.int64)
        if self.ids.dim() == 0 or self.ids.shape[0] != steps:
            return None
        rows = self.ids.reshape(steps, -1)
        shift = 0 if self.static else self.size
        moved = torch.where(rows >= 0, rows - torch.arange(steps)[:, None] * shift, rows)
        if not bool((moved == moved[:1]).all()) or bool((moved[0] >= self.size).any()):
            return None
        return moved[0].numpy().astype(np.int64)


@dataclass(frozen=True)
class Value:
    """A tensor of the program that depends on the input.

    Attributes:
        terms: Its addends; empty if `unknown`.
        unknown: Whether it comes from an operation that is not understood.
        once: Whether it has no time axis any more (it comes after an average over time).
        offset: Whether constants were added on the way, so that zeros of the source may be no zeros here.
    """

    terms: tuple[Term, ...] = ()
    unknown: bool = False
    once: bool = False
    offset: bool = False

    @property
    def pure(self) -> bool:
        """Whether every addend is a population, not a pending connection."""
        return bool(self.terms) and all(isinstance(term.source, str) for term in self.terms)

    def mapped(self, function: object) -> Value:
        """Returns the value after an operation that only moves elements."""
        terms = tuple(replace(term, ids=function(term.ids)) for term in self.terms)  # type: ignore[operator]
        return replace(self, terms=terms)

    def scaled(self, offset: bool) -> Value:
        """Returns the value after a scale (and an offset) by constants: the weights known so far no longer hold."""
        terms = tuple(
            replace(term, source=replace(term.source, weight=None)) if isinstance(term.source, Projection) else term
            for term in self.terms
        )
        return replace(self, terms=terms, offset=self.offset or offset)


def numbered(shape: tuple[int, ...], steps: int) -> Tensor:
    """Returns fresh numbers for a tensor whose first axis is time (or that has none, with steps = 1)."""
    total = int(np.prod(shape, dtype=np.int64))
    return torch.arange(total, dtype=torch.int32 if total < 2**31 else torch.int64).reshape(shape)


def index_or_none(positions: NDArray[np.int64], size: int) -> NDArray[np.int64] | None:
    """Returns positions, or None where they are 0, 1, 2, ... size - 1."""
    return None if len(positions) == size and np.array_equal(positions, np.arange(size)) else positions


def sample_shape(tensor: Tensor) -> tuple[int, ...]:
    """Returns the shape of one sample in one time step of `[T, 1, *shape]` or `[T, *shape]`."""
    shape = tuple(tensor.shape[1:])
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
