"""One neuron layer under the reference's spikes: what its own code makes of them, and how far off its current is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurokit.neurons import dynamics
from neurokit.parity.covering import SIDES
from neurokit.parity.step_run import followed
from neurokit.parity.units import unit_of
from neurokit.parity.vectors import LayerVector

if TYPE_CHECKING:
    from neurokit.target import Probe


@dataclass(frozen=True)
class Forced:
    """What forcing one layer found.

    Attributes:
        flips: Decisions that differ.
        margin: Largest distance of the membrane from the threshold at one of them.
        error: Largest error of a sampled membrane.
        first: Step and flat index of the first of them.
        wrong_code: Whether the layer's code disagrees with the neuron's equations on the very same numbers.
    """

    flips: int
    margin: float
    error: float
    first: tuple[int, int] | None
    wrong_code: bool


def force_layer(probe: Probe, index: int, layer: LayerVector, current: np.ndarray) -> Forced:
    """Runs a layer's own neuron code on a current, its membrane reset by the reference's spikes."""
    current = current.reshape(layer.spikes.shape)
    if layer.steps is not None:
        return _force_steps(probe, index, layer, current)
    charged, before = layer.follow(current, layer.spikes)
    spikes, after = probe.fire(index, current, before)
    differs = spikes.astype(np.uint8) != layer.spikes
    margins = np.abs(charged - layer.parameters["v_threshold"])[differs]
    error = np.abs(charged.reshape(-1)[layer.sample_at].astype(np.float64) - layer.sample_h.astype(np.float64))
    return Forced(
        int(differs.sum()),
        float(margins.max(initial=0.0)),
        float(error.max(initial=0.0)),
        _first(differs),
        _wrong_code(layer, current, charged, spikes, after),
    )


def _force_steps(probe: Probe, index: int, layer: LayerVector, current: np.ndarray) -> Forced:
    """Runs a stepwise layer's own code on a current, from the reference's initial states.

    Its reset cannot be driven from outside: of each element the first output that is not the reference's is judged.
    """
    run = followed(probe, index, layer, current, layer.spikes, SIDES * layer.bound)
    differs = layer.differs(run.outputs)
    error = np.abs(current.reshape(-1)[layer.sample_at].astype(np.float64) - layer.sample_h.astype(np.float64))
    margin = float("inf") if run.contradictions else 0.0
    return Forced(
        int(differs.sum()), margin, float(np.nan_to_num(error, nan=np.inf).max(initial=0.0)), _first(differs), False
    )


def _wrong_code(
    layer: LayerVector, current: np.ndarray, charged: np.ndarray, spikes: np.ndarray, after: np.ndarray
) -> bool:
    """Whether the target's own neuron disagrees with the neuron's equations on the very same numbers.

    Only the membrane's own few roundings may lie between them; the layer's bound has no part in this.
    """
    threshold = layer.parameters["v_threshold"]
    slack = 16.0 * unit_of(current.dtype) * (np.abs(charged) + np.abs(current) + abs(threshold))
    off = ((charged >= threshold) != spikes.astype(bool)) & (np.abs(charged - threshold) > slack)
    expected = dynamics.after_spike(charged, spikes.astype(charged.dtype), layer.parameters)
    return bool(off.any() or (np.abs(after - expected) > slack).any())


def _first(differs: np.ndarray) -> tuple[int, int] | None:
    """Returns (t, flat index within the step) of the earliest difference."""
    for t, step in enumerate(differs):
        if step.any():
            return t, int(np.argmax(step.reshape(-1)))
    return None


def fires_at_threshold(probe: Probe, index: int, layer: LayerVector) -> bool:
    """Whether a layer's own code fires at its threshold and not at the next number below it.

    The test input may hold no membrane that close, so these are made: with v at the wanted value and x such that no
    leak acts, the charged membrane is that value.
    """
    dtype = layer.sample_h.dtype.type
    threshold = dtype(layer.parameters["v_threshold"])
    rest = dtype(layer.parameters["v_reset"] or 0.0)
    wanted = np.array([threshold, np.nextafter(threshold, dtype(-np.inf)), np.nextafter(threshold, dtype(np.inf))])
    undecayed = layer.op != "if_" and not layer.parameters["decay_input"]
    before = np.full_like(wanted, rest) if undecayed or layer.op == "if_" else wanted
    current = wanted - rest
    parameters = {k: dtype(v) if isinstance(v, float) else v for k, v in layer.parameters.items()}
    charged = dynamics.charge(layer.op, before, current, parameters)
    spikes, _ = probe.fire(index, current[None], before[None])
    return bool(np.array_equal(spikes.reshape(-1) > 0, charged >= threshold))


def in_bounds(value: np.ndarray, wanted: np.ndarray, bound: float) -> bool:
    """Returns whether a value is nowhere further off than reference and target may be together.

    What is infinite or no number in the reference must be the same in the value.
    """
    if value.shape != wanted.shape:
        return False
    known = np.isfinite(wanted)
    if not np.array_equal(value[~known], wanted[~known], equal_nan=value.dtype.kind == "f"):
        return False
    off = np.abs(value[known].astype(np.float64) - wanted[known].astype(np.float64))
    return bool(off.size == 0 or float(off.max()) <= SIDES * bound)
