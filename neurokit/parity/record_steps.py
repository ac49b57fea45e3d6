"""Runs single steps of a layer of rare neurons, common ones and made ones, for the test vectors of an artifact."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neurokit.neurons.stepwise import Step, step_of
from neurokit.parity.at_threshold import at_threshold, crossing
from neurokit.parity.steps import OP, Steps
from neurokit.parity.stimuli import draw
from neurokit.parity.units import unit_of
from neurokit.parity.vectors import LayerVector

if TYPE_CHECKING:
    from neurokit.capture.reference import StepRecord
    from neurokit.parity.rounding import Magnitude

Values = tuple[Tensor, ...]

ULPS = 16.0  # roundings of a step: so many units of its operands and constants
_LONGER, _SHORTEST = 7, 16  # made steps: so many more than the model's own, and at least
_NUMBERS = 2**20  # operands kept a layer
_FEWEST = 8  # steps kept, however large the layer
_KEPT = 4096  # results kept of every step
_LADDER = (-16.0, -4.0, -1.0, 0.0, 1.0, 4.0, 16.0, 64.0)  # currents between which a neuron changes its mind
_HALVINGS = 44


def step_layer(name: str, records: Sequence[StepRecord], magnitudes: Sequence[Magnitude], seed: int) -> LayerVector:
    """Returns one layer of rare neurons; calls of one that is called several times follow one another along T."""
    step = step_of(records[0].key)
    currents = torch.cat([entry.current for entry in records])
    outputs = torch.cat([entry.spikes for entry in records])
    at = np.sort(np.random.default_rng(seed).choice(currents.numel(), min(_KEPT, currents.numel()), replace=False))
    bound = max((float(magnitude.error().max()) for magnitude in magnitudes if magnitude.size.numel()), default=0.0)
    return LayerVector(
        path=name,
        kind=type(step.module).__name__,
        op=OP,
        parameters={},
        spikes=outputs.numpy(),
        init=0.0,
        bound=min(bound, float(np.finfo(np.float32).max)),
        rigorous=all(magnitude.rigorous for magnitude in magnitudes),
        sample_at=at,
        sample_h=currents.numpy().reshape(-1)[at],
        steps=_Recording(step, currents, records[0].states, outputs).steps(),
    )


class _Recording:
    """One layer's step, in its own element type and in float64 where it runs there."""

    def __init__(self, step: Step, currents: Tensor, states: Values, outputs: Tensor) -> None:
        self._step, self._x, self._first, self._y = step, currents.detach(), states, outputs
        self._unit = unit_of(currents.numpy().dtype)
        self._scale = _constants(step.module)
        self._wide = self._in_double()

    def steps(self) -> Steps:
        """Returns the steps that are kept: those that tell most come first."""
        own, made, amplitude = self._own_steps(), *self._made_steps()
        middle = made[len(made) // 2]
        near = self._near(own[0][1], amplitude) + self._near(middle[1], amplitude)
        exact = self._at_threshold()
        marks = [None, *(where for *_, where in exact)]  # of the steps that are judged at some elements alone
        order = [own[-1], *((x, states) for x, states, _ in exact), middle, *near[:2], *near[4:6]]
        order += [*own[:-1], *near[2:4], *near[6:], *made]
        size = sum(value.numel() for value in (own[0][0], *own[0][1]))
        order = order[: max(_FEWEST, _NUMBERS // max(1, size))]
        rng = np.random.default_rng(0)
        marks += [None] * (len(order) - len(marks))
        results = [self._judged(x, states, where) for (x, states), where in zip(order, marks, strict=False)]
        places = [_places(value.numel(), rng) for value in results[0][0]]
        kept = [
            [np.stack([part[index].numpy().reshape(-1)[at] for part in side]) for index, at in enumerate(places)]
            for side in zip(*results, strict=True)
        ]
        ends = [self._y, *(wanted[0] for wanted, _ in results)]
        finite = [value[torch.isfinite(value)] for value in ends]
        return Steps(
            starts=tuple(_one_sample(value.numpy()) for value in self._first),
            currents=torch.stack([x for x, _ in order]).numpy(),
            before=tuple(torch.stack([states[k] for _, states in order]).numpy() for k in range(len(self._first))),
            places=tuple(places),
            wanted=tuple(kept[0]),
            allowed=tuple(value.astype(np.float32) for value in kept[1]),
            ends=(
                min((float(value.min()) for value in finite if value.numel()), default=0.0),
                max((float(value.max()) for value in finite if value.numel()), default=0.0),
            ),
            scale=self._scale,
            at_threshold=sum(int(where.sum()) for *_, where in exact),
        )

    def _at_threshold(self) -> list[tuple[Tensor, Values, Tensor]]:
        if self._wide is None or not self._x.is_floating_point():
            return []
        try:
            return at_threshold(self._step, self._wide, self._x[0], self._first, self._scale)
        except Exception:  # whatever a user's code raises on membranes that it never meets
            return []

    def _in_double(self) -> Step | None:
        """Returns the step in float64, or None where its code does not run there."""
        step = self._step
        try:
            wide = Step(step.path, copy.deepcopy(step.module).double(), step.call, step.held)
            made = _run(wide, _double(self._x[0]), tuple(map(_double, self._first)))
        except Exception:  # whatever a user's code raises
            return None
        same = [value.dtype == torch.float64 for value in made if value.is_floating_point()]
        return wide if all(same) else None

    def _evaluate(self, x: Tensor, states: Values) -> Values:
        if self._wide is None:
            return _run(self._step, x.to(self._x.dtype), tuple(map(_like, states, self._first)))
        return _run(self._wide, _double(x), tuple(map(_double, states)))

    def _own_steps(self) -> list[tuple[Tensor, Values]]:
        """Returns the reference's own steps of the first call, each with the states before it."""
        return self._followed(self._x)

    def _followed(self, currents: Tensor) -> list[tuple[Tensor, Values]]:
        found, states = [], self._first
        for x in currents:
            found.append((x, states))
            _, *after = _run(self._step, x, states)
            states = tuple(after)
        return found

    def _made_steps(self) -> tuple[list[tuple[Tensor, Values]], float]:
        """Returns steps under noise that is strong enough for the neuron to fire, and the noise's amplitude."""
        count = max(_SHORTEST, len(self._x) + _LONGER)
        noise = torch.from_numpy(4.0 * draw(7, (count, *self._x.shape[1:])) - 1.0)
        seen = self._x[torch.isfinite(self._x)].abs()
        amplitude = float(seen.max()) if seen.numel() and float(seen.max()) > 0 else 1.0
        best, strength = None, amplitude
        for _ in range(6):
            steps = self._followed((strength * noise).to(self._x.dtype))
            if not all(bool(torch.isfinite(value).all()) for _, states in steps for value in states if _is_real(value)):
                break
            best, amplitude = steps, strength
            fired = torch.stack([_run(self._step, x, states)[0] for x, states in steps])
            usual = fired.reshape(-1)[0] if not fired.numel() else fired.mode(0).values
            if float((fired != usual).float().mean()) > 0.1:
                break
            strength *= 4.0
        return (best or self._own_steps()), amplitude

    def _near(self, states: Values, amplitude: float) -> list[tuple[Tensor, Values]]:
        """Returns steps from given states with currents on both sides of where each neuron changes its mind."""
        ladder = [torch.full_like(self._x[0], amplitude * rung, dtype=torch.float64) for rung in _LADDER]
        _, high, _ = crossing(lambda x: self._evaluate(x, states)[0], ladder, _HALVINGS)
        size = self._size(high, states, (high,))
        margins = (32.0 * ULPS * self._unit * size, 1e-4 * high.abs() + 64.0 * ULPS * self._unit * size)
        return [((high + sign * by).to(self._x.dtype), states) for by in margins for sign in (1.0, -1.0)]

    def _judged(self, x: Tensor, states: Values, where: Tensor | None) -> tuple[Values, Values]:
        """Returns the results of one step, and how far another implementation may be from them.

        Args:
            x: Its input.
            states: States before it.
            where: Elements at which it stands exactly at a threshold: there nothing is rounded, and the others are not
                judged. None for a common step.
        """
        narrow = _run(self._step, x, states)
        # At a threshold, float64 with constants of more digits than the network's may decide otherwise.
        nominal = narrow if where is not None else self._evaluate(x, states)
        size = self._size(x, states, nominal)
        spread = [(a.double() - b.double()).abs() for a, b in zip(nominal, narrow, strict=True)]
        for turn in range(0 if where is not None else 6):
            signs = [_sign(turn, place) for place in range(1 + len(states))]
            moved = self._evaluate(
                _moved(x, self._unit * size, signs[0]),
                tuple(_moved(v, self._unit * size, sign) for v, sign in zip(states, signs[1:], strict=True)),
            )
            spread = [
                torch.maximum(s, (a.double() - b.double()).abs())
                for s, a, b in zip(spread, moved, nominal, strict=True)
            ]
        allowed = []
        for away, value in zip(spread, nominal, strict=True):
            fits = size if size.shape == value.shape else size.max() if size.numel() else size.sum()
            slack = 2.0 * away + ULPS * self._unit * (value.double().abs() + fits)
            if where is not None:
                slack = torch.where(where, slack, torch.inf) if slack.shape == where.shape else slack + torch.inf
            allowed.append(torch.nan_to_num(slack, nan=torch.inf, posinf=torch.inf))
        return narrow, tuple(allowed)

    def _size(self, x: Tensor, states: Values, results: Values) -> Tensor:
        """Returns what a step's roundings are a share of, element by element where all its operands have one shape."""
        size = x.double().abs() + self._scale
        for value in (*states, *results):
            if not _is_real(value):
                continue
            part = value.double().abs()
            size = size + (part if part.shape == size.shape else part.max() if part.numel() else 0.0)
        return size


def _run(step: Step, x: Tensor, states: Values) -> Values:
    with torch.no_grad():
        return tuple(value.detach().clone() for value in step(x, *states))


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _like(value: Tensor, model: Tensor) -> Tensor:
    return value.to(model.dtype)


def _is_real(value: Tensor) -> bool:
    return value.is_floating_point()


def _moved(value: Tensor, size: Tensor, sign: float) -> Tensor:
    """Returns a value moved by as much as its roundings may."""
    if not _is_real(value):
        return value
    by = size if size.shape == value.shape else size.max() if size.numel() else size.sum()
    return value.double() + sign * ULPS * by


def _sign(turn: int, place: int) -> float:
    """Returns all up, all down, in turns and against each other: six patterns."""
    up = (True, False, place % 2 == 0, place % 2 == 1, place == 0, place > 0)[turn]
    return 1.0 if up else -1.0


def _constants(module: torch.nn.Module) -> float:
    """Returns the magnitude of a neuron's own numbers."""
    numbers = [abs(float(v)) for v in vars(module).values() if isinstance(v, float) and abs(v) < 1e6]
    tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    numbers += [float(v.detach().abs().max()) for v in tensors if v.numel() and v.is_floating_point()]
    return max([1.0, *(number for number in numbers if np.isfinite(number))])


def _places(size: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(size, min(_KEPT, size), replace=False))


def _one_sample(value: np.ndarray) -> np.ndarray:
    """Returns a state of one sample where those of all are the same."""
    return value[:1].copy() if len(value) and (value == value[:1]).all() else value.copy()
