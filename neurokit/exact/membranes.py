"""How large and how fine a membrane can become, time step by time step.

A leak of 1/tau = m / 2**s makes the membrane's grid finer by s bits a step; adding up makes it larger. A step is
*exact* while every intermediate result is below 2**24 units of its own grid: then float32, float64 and integers all
give the same numbers, fused or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurokit.exact.dyadic import ANY, is_power_of_two, lowest_bit, lowest_bit_of
from neurokit.neurons.dynamics import subtracted

LIMIT = 24

Bounded = tuple[Tensor, Tensor, Tensor]  # largest and smallest value, and the exponent of the grid, each elementwise


@dataclass(frozen=True)
class Membrane:
    """Bounds of one neuron layer's membrane.

    Attributes:
        bits: log2 of the largest intermediate result in units of its grid, after the given number of steps.
        steps: Number of steps that are proven exact; None for any number.
        floor: Exponent below which the grid of the current must not go for all given steps to be exact.
        after: Largest and smallest membrane after the given steps, and the exponent of its grid; None where no grid
            holds it.
    """

    bits: float
    steps: int | None
    floor: float
    after: Bounded | None = None


def membrane(
    op: str,
    pos: Tensor,
    neg: Tensor,
    grid: Tensor,
    settings: dict[str, Any],
    v0: Tensor | Bounded,
    time_steps: int,
) -> Membrane:
    """Bounds the membrane of one neuron layer.

    Args:
        op: "if_", "lif" or "plif".
        pos: Largest positive current, `[T, ...]`.
        neg: Largest magnitude of a negative current.
        grid: Exponent of the current's grid.
        settings: The neuron's arguments by name.
        v0: Membrane before the first step, or bounds and grid of it as `Membrane.after` has them.
        time_steps: T.
    """
    high, low = pos.amax(0).double(), -neg.amax(0).double()
    finest = grid.amin(0).double()
    if op == "lif" and not is_power_of_two(settings["tau"]):
        return Membrane(math.inf, 0, -ANY)
    state = _State(op, settings, high, low, finest, v0)
    bits, floor, exact = -ANY, -ANY, 0
    after = state.now
    for step in range(_HORIZON):
        now, need = state.step()
        if step < time_steps:
            bits, floor, after = max(bits, now), max(floor, need), state.now
        if now >= LIMIT:
            break
        exact = step + 1
        if exact >= time_steps and state.settled:
            return Membrane(bits, None, floor, after)
    while step + 1 < time_steps:  # what all steps need, also after the first that is too wide
        step += 1
        now, need = state.step()
        bits, floor, after = max(bits, now), max(floor, need), state.now
    return Membrane(bits, exact, floor, after)


_HORIZON = 64


@dataclass(frozen=True)
class Fixed:
    """A membrane in fixed point: one grid that holds every intermediate result of a given number of steps.

    Attributes:
        exponent: Of the grid.
        largest: Largest magnitude of any intermediate result.
        exact: Whether float32 rounds none of them either, so that integers give the same numbers.
        endless: Whether this holds for any number of steps.
    """

    exponent: float
    largest: float
    exact: bool
    endless: bool


def in_fixed_point(
    op: str, pos: Tensor, neg: Tensor, grid: Tensor, settings: dict[str, Any], v0: Tensor | Bounded, time_steps: int
) -> Fixed:
    """Returns what a membrane needs in fixed point; arguments as for `membrane`."""
    if op == "lif" and not is_power_of_two(settings["tau"]):
        return Fixed(-ANY, math.inf, False, False)
    state = _State(op, settings, pos.amax(0).double(), -neg.amax(0).double(), grid.amin(0).double(), v0)
    bits = -ANY
    for _ in range(time_steps):
        bits = max(bits, state.step()[0])
    return Fixed(state.finest, state.largest, bits < LIMIT, state.settled)


class _State:
    """The range and grid of the membrane before a step."""

    def __init__(
        self,
        op: str,
        settings: dict[str, Any],
        high: Tensor,
        low: Tensor,
        grid: Tensor,
        v0: Tensor | Bounded,
    ) -> None:
        self.op, self.hard = op, settings["v_reset"] is not None
        self.threshold = float(settings["v_threshold"])
        self.drop = float(subtracted(settings))
        self.rest = float(settings["v_reset"]) if self.hard else 0.0
        self.decay = 0.0 if op == "if_" else 1.0 / settings["tau"] if op == "lif" else float(settings["decay"])
        self.decay_input = bool(settings.get("decay_input", False))
        self.x = (high, low, grid)
        if isinstance(v0, Tensor):
            start = v0.double().expand_as(high)
            self.v, self.grid = (start, start), lowest_bit(start)
        else:
            self.v, self.grid = (v0[0].double(), v0[1].double()), v0[2].double()
            start = torch.maximum(self.v[0].abs(), self.v[1].abs())
        self.constant = lowest_bit_of(self.rest) if self.hard else lowest_bit_of(self.drop)
        self.grid = torch.minimum(self.grid, torch.full_like(grid, self.constant))
        self.settled = False
        self.finest, self.largest = float(self.grid.min()), float(start.abs().max()) if start.numel() else 0.0
        self.worst = -ANY
        self.need = -ANY

    @property
    def now(self) -> Bounded:
        """Largest and smallest membrane, and the exponent of its grid."""
        return (*self.v, self.grid)

    def step(self) -> tuple[float, float]:
        """Takes one step; returns the bits it needs, and the floor of the current's grid that would make it exact."""
        self.worst, self.need = -ANY, -ANY
        before = (*self.v, self.grid)
        h_high, h_low, grid = self._charge()
        self._see(h_high, h_low, grid)
        fires = h_high >= self.threshold
        if self.hard:
            top = torch.where(fires, torch.full_like(h_high, max(self.threshold, self.rest)), h_high)
            bottom = torch.where(fires, h_low.clamp_max(self.rest), h_low)
        else:
            most = torch.maximum(h_high - self.drop, torch.full_like(h_high, self.threshold))
            top = torch.where(fires, most, h_high)
            # A membrane that fires is at the threshold at least: it falls no lower than what is left of that.
            least = self.threshold - self.drop
            bottom = h_low.clamp_max(least) if self.threshold > 0 else h_low - abs(self.drop)
            top = torch.maximum(top, bottom)
        self.v = (torch.maximum(top, before[0]), torch.minimum(bottom, before[1]))
        self.grid = torch.minimum(torch.minimum(grid, self.grid), torch.full_like(grid, self.constant))
        self.settled = all(torch.equal(a, b) for a, b in zip(before, (*self.v, self.grid), strict=True))
        return self.worst, self.need

    def _charge(self) -> tuple[Tensor, Tensor, Tensor]:
        (high, low, fine), (v_high, v_low), v_grid = self.x, self.v, self.grid
        if self.op == "if_":
            return v_high + high, v_low + low, torch.minimum(v_grid, fine)
        m = self.decay / 2.0 ** lowest_bit_of(self.decay)
        w_high, w_low = v_high - self.rest, v_low - self.rest
        w_grid = torch.minimum(v_grid, torch.full_like(v_grid, lowest_bit_of(self.rest)))
        self._see(w_high, w_low, w_grid)
        if self.decay_input:
            d_high, d_low, d_grid = high - w_low, low - w_high, torch.minimum(fine, w_grid)
        else:
            d_high, d_low, d_grid = w_high, w_low, w_grid
        self._see(d_high * m, d_low * m, d_grid)
        q_grid = d_grid + lowest_bit_of(self.decay)
        if self.decay_input:
            # v + (x - (v - r)) k = (1 - k) v + k (x + r), with 0 < k <= 1.
            h_high = (1 - self.decay) * v_high + self.decay * (high + self.rest)
            h_low = (1 - self.decay) * v_low + self.decay * (low + self.rest)
            return h_high, h_low, torch.minimum(v_grid, q_grid)
        l_high, l_low = v_high - self.decay * w_high, v_low - self.decay * w_low
        l_grid = torch.minimum(v_grid, q_grid)
        self._see(l_high, l_low, l_grid)
        return l_high + high, l_low + low, torch.minimum(l_grid, fine)

    def _see(self, high: Tensor, low: Tensor, grid: Tensor) -> None:
        """Notes how many bits a result needs."""
        size = torch.maximum(high.abs(), low.abs())
        if not size.numel():
            return
        self.finest, self.largest = min(self.finest, float(grid.min())), max(self.largest, float(size.max()))
        bits = torch.where(size > 0, torch.log2(size.clamp_min(1e-300)) - grid, torch.full_like(size, -ANY))
        self.worst = max(self.worst, float(bits.max()))
        # How much finer this grid is than the current's own: the current's grid must make up for it.
        finer = (self.x[2].clamp_max(self.constant) - grid).clamp_min(0.0)
        need = torch.where(size > 0, torch.log2(size.clamp_min(1e-300)) - LIMIT + finer, torch.full_like(size, -ANY))
        self.need = max(self.need, float(need.max()))
