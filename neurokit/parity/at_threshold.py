"""Steps at the very threshold of a rare neuron, where `>` and `>=` part and no rounding decides.

The step of a rare neuron is code that nobody knows here. So currents are searched, from membranes that are made of
few binary digits, at which the step in float64 changes its output exactly at a number of the network's own type. Where
no operation on the way is rounded, or rounding it the other way changes no decision, every sound implementation must
decide alike.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from neurokit.neurons.stepwise import Step

Values = tuple[Tensor, ...]

JUMP = 0.25  # outputs that are further apart than this are other decisions
_ROUNDS, _TRIED = 32, 4096  # sets of made membranes, and how many neurons in all; a large layer has one set
_HALVINGS = 70  # from the ladder's widest gap to the last digit of float64
_LADDER = (-(2.0**14), -1024.0, -64.0, -8.0, -1.0, -0.125, 0.0, 0.125, 1.0, 2.0, 8.0, 64.0, 512.0, 1536.0, 2.0**14)
# Membranes of few digits. Far below zero an exponential is 0, and what is left of the equation is exact.
_MEMBRANES = (0.0, 0.5, -0.5, 0.25, 2.0, -2.0, -128.0, -1024.0)
_MOST = 64.0  # a neuron's own number that is larger is no membrane
_EXACT = 2.0**-48  # of the operands: a few units of float64


def crossing(
    output: Callable[[Tensor], Tensor], ladder: Sequence[Tensor], halvings: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Finds by bisection where outputs first jump along a ladder of inputs.

    Args:
        output: Outputs of given inputs, element by element.
        ladder: Inputs in order, float64.
        halvings: Number of halvings.

    Returns:
        The last input before the jump, the first behind it, and whether there is one.
    """
    answers = [output(x).double() for x in ladder]
    low, high = torch.zeros_like(ladder[0]), torch.zeros_like(ladder[0])
    found = torch.zeros_like(low, dtype=torch.bool)
    for (a, y), (b, z) in pairwise(zip(ladder, answers, strict=True)):
        jumps = ((z - y).abs() > JUMP) & ~found
        low, high, found = torch.where(jumps, a, low), torch.where(jumps, b, high), found | jumps
    below = output(low).double()
    for _ in range(halvings):
        middle = 0.5 * (low + high)
        stays = (output(middle).double() - below).abs() < 0.5 * JUMP
        low, high = torch.where(stays, middle, low), torch.where(stays, high, middle)
    return low, high, found


def at_threshold(
    step: Step, wide: Step, x: Tensor, states: Values, scale: float
) -> list[tuple[Tensor, Values, Tensor]]:
    """Returns steps that stand exactly where the neuron changes its mind: from below, and from above.

    Args:
        step: The step in its own element type.
        wide: The same in float64.
        x: One input of the layer, `[B, ...]`, for shape and type.
        states: States before its first step.
        scale: Magnitude of the step's own numbers.

    Returns:
        Up to two steps: input, states, and at which elements it stands there.
    """
    own, wide = (with_numbers_of(each, x.numpy().dtype) for each in (step, wide))
    rounds = max(1, min(_ROUNDS, _TRIED // max(1, x.numel())))
    made = _made(_own_numbers(own.module), x, states, 2 * rounds)
    rungs = [torch.tensor(pair, dtype=torch.float64) for pair in zip(_LADDER, _LADDER[::-1], strict=True)]
    ladder = [
        rung.repeat_interleave(rounds * len(x)).reshape(-1, *[1] * (x.dim() - 1)).expand_as(made[0]) for rung in rungs
    ]
    at, exact = _exactly(own, wide, made[1:], ladder, x.dtype, scale)
    found = []
    for half in range(2):
        rows = slice(half * rounds * len(x), (half + 1) * rounds * len(x))
        chosen = _first_of(exact[rows], (at[rows], *(value[rows] for value in made[1:])), rounds)
        if chosen[0].any():
            found.append((chosen[1], tuple(chosen[2:]), chosen[0]))
    return found


def with_numbers_of(step: Step, dtype: np.dtype[Any]) -> Step:
    """Returns a step whose own numbers are rounded to a type, as a network of that type computes with them."""
    module = copy.deepcopy(step.module)
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, float):
                vars(part)[name] = float(dtype.type(value))
    return replace(step, module=module)


def _made(own: Sequence[float], x: Tensor, states: Values, copies: int) -> Values:
    """Returns the input and the states of several copies of a batch; membranes are made, every copy has others.

    The first copies have membranes of few digits, the later ones the neuron's own numbers as well.
    """
    rng = np.random.default_rng(0)
    found = [x.repeat(copies, *[1] * (x.dim() - 1))]
    for index, value in enumerate(states):
        if not value.is_floating_point() or value.shape != x.shape:
            fits = value.dim() > 0 and len(value) == len(x)
            found.append(value.repeat(copies, *[1] * (value.dim() - 1)) if fits else value)
            continue
        parts = []
        for turn in range(copies):
            numbers = _MEMBRANES if 2 * (turn % (copies // 2)) < copies // 2 else (*own, *_MEMBRANES)
            drawn = torch.from_numpy(rng.choice(numbers, tuple(value.shape))).to(value.dtype)
            keep = torch.from_numpy(rng.random(tuple(value.shape)) < (0.25 if index == 0 else 0.75))
            parts.append(torch.where(keep, value, drawn))
        found.append(torch.cat(parts))
    return tuple(found)


def _exactly(
    step: Step, wide: Step, states: Values, ladder: Sequence[Tensor], dtype: torch.dtype, scale: float
) -> tuple[Tensor, Tensor]:
    """Returns inputs of the network's own type, and where the decision changes exactly at them."""
    low, high, found = crossing(lambda x: _decided(wide, x, states), ladder, _HALVINGS)
    x = high.to(dtype)
    operands = [v.double().abs() for v in states if v.is_floating_point() and v.shape == x.shape]
    room = _EXACT * sum(operands, x.double().abs() + scale)
    met = found & ((high - x.double()).abs() <= room) & ((high - low).abs() <= room)
    below, at, above = (_decided(wide, x.double() + by * room, states) for by in (-2.0, 0.0, 2.0))
    own = _decided(step, x, states)
    met &= ((below - above).abs() > JUMP) & ((own - at).abs() < 0.5 * JUMP)
    return x, met & _decided_alike(step, x, states)


class _Rounded(TorchDispatchMode):
    """Moves the result of every operation that was rounded to the next number on one side."""

    def __init__(self, side: float) -> None:
        super().__init__()
        self._side = side

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and once more in float64 to know whether it was rounded."""
        kwargs = kwargs or {}
        wide = tree_map(_widened, (args, kwargs))
        made = func(*args, **kwargs)
        if not isinstance(made, Tensor) or made.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return made
        exact = func(*wide[0], **wide[1])
        moved = torch.nextafter(made, torch.full_like(made, self._side))
        moved = torch.where((made.double() == exact.double()) | ~torch.isfinite(made), made, moved)
        return made.copy_(moved) if func._schema.is_mutable else moved


def _widened(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _decided_alike(step: Step, x: Tensor, states: Values) -> Tensor:
    """Returns where a step decides alike whichever way its rounded operations go."""
    decided = []
    for side in (torch.inf, -torch.inf):
        given = _cast(states, x.dtype)
        with torch.no_grad(), _Rounded(side):
            decided.append(step(x.clone(), *(value.clone() for value in given))[0].double())
    return (decided[0] - decided[1]).abs() < JUMP


def _decided(step: Step, x: Tensor, states: Values) -> Tensor:
    with torch.no_grad():
        return torch.nan_to_num(step(x, *_cast(states, x.dtype))[0].detach().clone().to(torch.float64))


def _cast(states: Values, dtype: torch.dtype) -> Values:
    return tuple(value.to(dtype) if value.is_floating_point() else value for value in states)


def _first_of(exact: Tensor, values: Values, copies: int) -> Values:
    """Returns, of several copies of a batch, every element from the first copy in which it is exact."""
    where = exact.unflatten(0, (copies, -1))
    first = where.to(torch.int8).argmax(0, keepdim=True)
    size = where.shape[1]
    chosen = []
    for value in values:
        if value.shape == exact.shape:
            chosen.append(value.unflatten(0, (copies, -1)).gather(0, first)[0])
        else:
            chosen.append(value[:size] if value.dim() and len(value) == len(exact) else value)
    return where.any(0), *chosen


def _own_numbers(module: nn.Module) -> list[float]:
    """Returns a neuron's own numbers: its rest, its reset, where its equation is zero."""
    return [value for value in vars(module).values() if isinstance(value, float) and abs(value) <= _MOST]
