"""A layer's own neuron, run alone on currents made to find its faults, against its equations in float64.

Teacher forcing replaces the neuron's state at every step; here it carries its own, over more steps than the model has.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.neurons import dynamics
from neurokit.parity.forcing import fires_at_threshold
from neurokit.parity.step_run import judge_steps
from neurokit.parity.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neurokit.parity.vectors import LayerVector
    from neurokit.target import Probe

LONGER = 7  # steps beyond the model's own
SHORTEST = 16
# Distances from the threshold that a membrane is steered to, in units of the threshold; smaller ones come from the
# bound, so that a threshold which is off by any part of itself is crossed.
_DISTANCES = tuple(10.0**exponent for exponent in (-1.0, -1.5, -2.0, -2.5, -3.0, -4.0, -5.0))
_OPERATIONS = ("if_", "lif", "plif")


def judge_neurons(probe: Probe, layers: Sequence[LayerVector]) -> list[str]:
    """Runs every layer's own neuron; returns faults, one line each."""
    faults = []
    for index, layer in enumerate(layers):
        if layer.steps is not None:
            fault = judge_steps(probe, index, layer)
            faults += [f"{layer.path}: {fault}"] if fault else []
            continue
        if layer.op not in _OPERATIONS:
            continue
        fault = judge_neuron(probe, index, layer)
        if not fault and not fires_at_threshold(probe, index, layer):
            fault = f"its threshold is not {layer.parameters['v_threshold']!r}, or it does not fire at it"
        if fault:
            faults.append(f"{layer.path}: {fault}")
    return faults


def judge_neuron(probe: Probe, index: int, layer: LayerVector) -> str:
    """Runs one layer's own neuron over time on made currents, from several initial membranes.

    Returns:
        What is wrong in one line, or "".
    """
    dtype = layer.sample_h.dtype
    steps = max(SHORTEST, len(layer.spikes) + LONGER)
    parameters = _rounded(layer.parameters, dtype)
    current, start = _currents(layer.op, tuple(parameters.items()), float(np.max(layer.init)), steps, dtype)
    spikes, last = probe.run(index, current, start)
    if spikes.shape != current.shape or last.size != start.size:
        return f"run alone over {steps} steps, its neuron gives spikes of shape {list(spikes.shape)}"
    charged, bound, after = _followed(layer.op, parameters, current, start, spikes, unit_of(dtype))
    distance = charged - parameters["v_threshold"]
    off = ((distance >= 0.0) != spikes.astype(bool)) & ~(np.abs(distance) <= bound)
    if off.any():
        t, lane = (int(value) for value in np.argwhere(off)[0])
        return (
            f"run alone, its neuron differs from its equations in {int(off.sum())} of {off.size} decisions; first at "
            f"step {t}, with the membrane {float(distance[t, lane]):.3g} from the threshold"
        )
    if not np.all(np.abs(last.reshape(-1).astype(np.float64) - after) <= bound[-1]):
        return "run alone, its neuron leaves another membrane than its equations"
    return ""


def _rounded(parameters: dict[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Returns the numbers as the artifact holds them, in float64."""
    return {k: float(dtype.type(v)) if isinstance(v, float) else v for k, v in parameters.items()}


@lru_cache(maxsize=32)  # many layers have the same neuron
def _currents(
    op: str, parameters: tuple[tuple[str, Any], ...], init: float, steps: int, dtype: np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray]:
    return made_currents(op, dict(parameters), init, steps, dtype)


def made_currents(
    op: str, parameters: dict[str, Any], init: float, steps: int, dtype: np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns currents `[T, N]` and initial membranes `[N]`.

    From each of five membranes: silence, firing at every step, inhibition, alternation, a pulse first, a pulse last, a
    ramp and noise; and membranes that are steered to just above and just below the threshold, always or in turns.
    """
    threshold, rest = parameters["v_threshold"], parameters["v_reset"] or 0.0
    size = max(abs(threshold - rest), abs(threshold), 2.0**-10)
    gain = abs(dynamics.charge(op, rest, 1.0, parameters) - dynamics.charge(op, rest, 0.0, parameters)) or 1.0
    t = np.arange(steps, dtype=np.float64)
    noise = np.random.Generator(np.random.PCG64(0)).random((4, steps))
    shapes = [0.0 * t, 3.0 + 0.0 * t, -2.0 + 0.0 * t, np.where(t % 2 == 0, 2.5, -0.75), np.where(t == 0, 2.75, 0.0)]
    shapes += [np.where(t == steps - 1, 2.75, 0.0), 2.0 * t / steps - 0.25, *(3.0 * noise - 1.0)]
    starts = (init, rest, 0.5 * threshold, rest + 0.9 * (threshold - rest), -size)
    lanes = np.repeat(np.stack(shapes, axis=1) * size / gain, len(starts), axis=1)
    free = np.tile(np.asarray(starts, np.float64), len(shapes))
    steered, from_ = _steered(op, parameters, size, np.asarray(starts[:3]), t, dtype)
    return np.concatenate((lanes, steered), axis=1).astype(dtype), np.concatenate((free, from_)).astype(dtype)


def _steered(
    op: str, parameters: dict[str, Any], size: float, starts: np.ndarray, t: np.ndarray, dtype: np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns currents that bring the membrane to the threshold plus or minus a distance at every step."""
    near = 64.0 * unit_of(dtype)
    distances = [size * d for d in (*_DISTANCES, near) if d >= near]
    signs = np.stack((1.0 + 0.0 * t, -1.0 + 0.0 * t, np.where(t % 2 == 0, 1.0, -1.0)), axis=1)
    wanted = (signs[:, :, None] * np.asarray(distances)).reshape(len(t), -1)
    wanted = parameters["v_threshold"] + np.repeat(wanted, len(starts), axis=1)
    first = np.tile(starts, wanted.shape[1] // len(starts)).astype(dtype).astype(np.float64)
    v, current = first, np.zeros_like(wanted)
    for step in range(len(t)):
        base = dynamics.charge(op, v, np.zeros_like(v), parameters)
        slope = dynamics.charge(op, v, np.ones_like(v), parameters) - base
        current[step] = ((wanted[step] - base) / slope).astype(dtype)
        h = dynamics.charge(op, v, current[step], parameters)
        v = dynamics.after_spike(h, (h >= parameters["v_threshold"]).astype(np.float64), parameters)
    return current, first


def _followed(
    op: str, parameters: dict[str, Any], current: np.ndarray, start: np.ndarray, spikes: np.ndarray, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follows the equations in float64 with the given spikes driving the reset.

    Returns:
        Charged membranes and what rounding may have moved them by, both `[T, N]`, and the last membrane.
    """
    leak = 0.0 if op == "if_" else 1.0 / parameters["tau"] if op == "lif" else abs(float(parameters["decay"]))
    kept = max(abs(1.0 - leak), 0.0)
    charged, bound = np.empty(current.shape), np.empty(current.shape)
    v, carried = start.astype(np.float64), np.zeros(start.shape)
    level = max(abs(parameters["v_threshold"]), abs(dynamics.subtracted(parameters)))
    for t, x in enumerate(current.astype(np.float64)):
        charged[t] = h = dynamics.charge(op, v, x, parameters)
        scale = np.abs(h) + np.abs(v) + np.abs(x) + level
        carried = kept * carried + 8.0 * unit * scale
        bound[t] = carried
        v = dynamics.after_spike(h, spikes[t].astype(np.float64), parameters)
    assert math.isfinite(leak)
    return charged, bound, v
