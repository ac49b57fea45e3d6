"""A layer of rare neurons, known by its step alone: its own code on given numbers, and over time.

Its reset cannot be driven from outside, as that of a common neuron is. So every step is judged on its own, from the
states that the reference had before it (`judge_steps`), and over time an output is held against what the artifact's
own step, which was judged, makes of the same current (`followed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurokit.parity.units import unit_of

if TYPE_CHECKING:
    from neurokit.parity.vectors import LayerVector
    from neurokit.target import Probe

States = tuple[np.ndarray, ...]
_ULPS = 16.0  # roundings of one step, in units of its operands and constants
# The current of every step moved up, down, and in turns.
_MOVES = ((1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0))


@dataclass(frozen=True)
class Followed:
    """A stepwise layer's own code over time, beside outputs that it should have.

    Attributes:
        outputs: What it puts out, `[T, B, ...]`.
        before: Its states before every step, `[T, B, ...]` each.
        slack: How far rounding may have moved each of these states.
        after: Its states after the last step.
        contradictions: Elements whose first other output no rounding of the current explains.
        same: Elements of every step `[T, B, ...]` up to which the outputs are the given ones.
    """

    outputs: np.ndarray
    before: States
    slack: States
    after: States
    contradictions: int
    same: np.ndarray


def followed(
    probe: Probe, index: int, layer: LayerVector, current: np.ndarray, given: np.ndarray, bound: float
) -> Followed:
    """Runs a stepwise layer's own code over time from the reference's initial states.

    Args:
        probe: The artifact.
        index: Which layer.
        layer: What the reference made of it.
        current: Its input, `[T, B, ...]`; any B and T.
        given: The outputs that it should have, in the same shape.
        bound: How far the current may be from the one that led to these.
    """
    assert layer.steps is not None
    start = layer.steps.start(current.shape[1])
    unit, scale = unit_of(current.dtype), layer.steps.scale
    off = bound + _ULPS * unit * (np.abs(current) + scale)
    runs = [_chain(probe, index, current, start)]
    for even, odd in _MOVES:
        sign = np.where(np.arange(len(current)) % 2 == 0, even, odd).reshape(-1, *([1] * (current.ndim - 1)))
        runs.append(_chain(probe, index, (current + sign * off).astype(current.dtype), start))
    outputs, before, after = runs[0]
    made = np.stack([run[0] for run in runs]).astype(np.float64)
    room = _ULPS * unit * (np.abs(made[0]) + scale)
    with np.errstate(invalid="ignore"):
        near = (given >= made.min(0) - room) & (given <= made.max(0) + room)
        differs = ~(np.abs(given - made[0]) <= room)
    same = ~np.logical_or.accumulate(differs, axis=0)
    first = differs & np.concatenate((np.ones_like(same[:1]), same[:-1]))
    with np.errstate(invalid="ignore"):
        slack = tuple(
            np.max([np.abs(run[1][k].astype(np.float64) - values) for run in runs], axis=0)
            + 4.0 * _ULPS * unit * (np.abs(values) + scale)
            for k, values in enumerate(before)
        )
    return Followed(outputs, before, slack, after, int((first & ~near).sum()), same)


def _chain(probe: Probe, index: int, current: np.ndarray, states: States) -> tuple[np.ndarray, States, States]:
    """Runs single steps, each from the states of the last; returns outputs, states before each step and last states."""
    outputs, before = [], []
    for x in current:
        before.append(states)
        y, states = probe.run_steps(index, x[None], states)
        outputs.append(y.reshape(x.shape))
    held = tuple(np.stack([step[k] for step in before]) for k in range(len(states)))
    return np.stack(outputs), held, states


def judge_steps(probe: Probe, index: int, layer: LayerVector) -> str:
    """Runs a stepwise layer's own code on every step that the reference took, and over time.

    Returns:
        What is wrong in one line, or "".
    """
    steps = layer.steps
    assert steps is not None
    names = ["output", *(f"state {k}" for k in range(len(steps.starts)))]
    for turn, x in enumerate(steps.currents):
        y, after = probe.run_steps(index, x[None], tuple(value[turn] for value in steps.before))
        if len(after) != len(steps.starts):
            return f"its step hands on {len(after)} states, the reference's {len(steps.starts)}"
        for name, value, at, wanted, allowed in zip(
            names, (y, *after), steps.places, steps.wanted, steps.allowed, strict=True
        ):
            if value.size <= int(at.max(initial=-1)):
                return f"its step gives {name} of shape {list(value.shape)}"
            off = _beyond(value.reshape(-1)[at], wanted[turn], allowed[turn])
            if off.any():
                worst = np.abs(value.reshape(-1)[at].astype(np.float64) - wanted[turn])[off].max()
                return (
                    f"from the same current and states its step gives another {name} than the reference's in "
                    f"{int(off.sum())} of {off.size} elements, by up to {float(worst):.3g}"
                )
    return _judge_carrying(probe, index, steps.currents, steps.start(steps.currents.shape[1]))


def _judge_carrying(probe: Probe, index: int, current: np.ndarray, start: States) -> str:
    """Compares a run over all steps with single steps in a row: the same code on the same numbers."""
    outputs, _, last = _chain(probe, index, current, start)
    y, after = probe.run_steps(index, current, start)
    if y.shape != outputs.shape or not _alike((y, *after), (outputs, *last)):
        return f"over {len(current)} steps its states are not carried from step to step as single steps carry them"
    return ""


def _alike(values: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return all(
        np.allclose(a.reshape(b.shape), b, rtol=0.0, atol=0.0, equal_nan=a.dtype.kind == "f")
        for a, b in zip(values, others, strict=True)
    )


def _beyond(value: np.ndarray, wanted: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        off = ~(np.abs(value.astype(np.float64) - wanted.astype(np.float64)) <= allowed)
    return off & np.isfinite(allowed) & np.isfinite(wanted.astype(np.float64))


def state_faults(
    probe: Probe, index: int, layer: LayerVector, current: np.ndarray | None, own: np.ndarray
) -> list[str]:
    """Holds the states of the last free run against those that the layer's own currents lead to.

    Before its first call stand the reference's initial states, which no current explains; before its later calls (the
    steps of a step form) what its own step makes of the calls before.

    Args:
        probe: The artifact, after a free run.
        index: Which layer.
        layer: What the reference made of it.
        current: Its currents in that run; None where they are not known: then initial states alone are compared.
        own: Its outputs in that run, `[T, B, ...]`.
    """
    assert layer.steps is not None
    seen = probe.states_before(index)
    start = layer.steps.start(own.shape[1])
    unit = unit_of(layer.spikes.dtype)
    for k, (value, wanted) in enumerate(zip(seen, start, strict=False)):
        if value is None or not value.size:
            continue
        if not _fits(value[0], wanted, 2.0 * unit * np.abs(wanted)):
            return [f"{layer.path}: its initial state {k} is not the reference's"]
    if current is None or not any(value is not None and len(value) > 1 for value in seen):
        return []
    run = followed(probe, index, layer, current, own, 2.0 * layer.bound)
    for k, value in enumerate(seen):
        if value is None or len(value) < 2 or len(own) % len(value):
            continue
        stride = len(own) // len(value)
        wanted, slack, same = run.before[k][::stride], run.slack[k][::stride], _unmoved(run.same)[::stride]
        if same.shape != wanted.shape:
            if not same.all():
                continue
            same = np.ones(wanted.shape, bool)
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(value.reshape(wanted.shape).astype(np.float64) - wanted) <= slack)
        if (off & same & np.isfinite(wanted)).any():
            return [f"{layer.path}: state {k} is not carried on from call to call as its step leaves it"]
    return []


def _unmoved(same: np.ndarray) -> np.ndarray:
    """Returns, for every step, the elements whose outputs before it are the given ones."""
    return np.concatenate((np.ones_like(same[:1]), same[:-1]))


def _fits(value: np.ndarray, wanted: np.ndarray, allowed: np.ndarray) -> bool:
    if value.size == 1:
        return bool((np.abs(value.reshape(-1)[0] - wanted.astype(np.float64)) <= allowed).all())
    if value.size != wanted.size:
        return False
    return bool((np.abs(value.reshape(wanted.shape).astype(np.float64) - wanted) <= allowed).all())
