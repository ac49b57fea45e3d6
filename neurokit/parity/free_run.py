"""The free run: it may part from the reference only at a near miss, and from there it must follow its own spikes.

Equations and argument: docs/verification.md, "The free run".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from neurokit.neurons import dynamics
from neurokit.parity.covering import SIDES
from neurokit.parity.forcing import in_bounds
from neurokit.parity.step_run import followed, state_faults
from neurokit.parity.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neurokit.parity.vectors import LayerVector, Vectors
    from neurokit.target import Probe

# The rounding bound was taken under the reference's spikes. Under the artifact's own, which differ from these behind
# a near miss only, sums may be a little larger, and two runs of the artifact round each in its own way.
OWN = 2.0 * SIDES


@dataclass(frozen=True)
class FreeRun:
    """What an artifact did on its own.

    Attributes:
        flips: Decisions that differ from the reference's, one number a layer.
        unexplained: Decisions that the layer's own current and spikes do not lead to, one number a layer.
        first: Step, layer and flat index of the first difference, in the order of time and then of layers.
        faults: One line each.
        judged: Whether all differences were judged, the first one alone, or none because a layer is not seen.
    """

    flips: tuple[int, ...]
    unexplained: tuple[int, ...]
    first: tuple[int, str, int] | None = None
    faults: tuple[str, ...] = ()
    judged: Literal["all", "first", "none"] = "all"


def judge_free_run(
    probe: Probe, vectors: Vectors, outputs: Sequence[np.ndarray], spikes: Sequence[np.ndarray]
) -> FreeRun:
    """Judges a free run on the test vectors' input.

    Where every spike is the reference's, the outputs must be within rounding too. Else the artifact is run once more
    with its own spikes given back to it, and every layer must fire where its own current says.
    """
    layers = vectors.layers
    wrong = [layer.path for layer, own in zip(layers, spikes, strict=True) if own.size != layer.spikes.size]
    if wrong:
        faults = tuple(f"{path}: the artifact's spikes have another number than the reference's" for path in wrong)
        return FreeRun((0,) * len(layers), (0,) * len(layers), None, faults)
    differs = [layer.differs(own) for layer, own in zip(layers, spikes, strict=True)]
    flips = tuple(int(d.sum()) for d in differs)
    first = _first(layers, differs)
    if first is None:
        bounds = vectors.output_bounds
        off = [
            name
            for y, (name, wanted) in zip(outputs, vectors.outputs.items(), strict=True)
            if not in_bounds(y, wanted, bounds.get(name, 0.0))
        ]
        faults = tuple(f"output {name!r} is beyond rounding though every spike is the reference's" for name in off)
        return FreeRun(flips, (0,) * len(layers), None, faults)
    if not probe.can_force():
        judged, faults = _unforced(vectors, differs, first)
        return FreeRun(flips, (0,) * len(layers), first, faults, judged)
    bounds = dict(zip(vectors.outputs, [vectors.output_bounds.get(n, 0.0) for n in vectors.outputs], strict=True))
    unexplained, faults = own_spikes(probe, layers, bounds, vectors.feeds, outputs, spikes)
    return FreeRun(flips, unexplained, first, faults)


def own_spikes(
    probe: Probe,
    layers: Sequence[LayerVector],
    bounds: Mapping[str, float],
    feeds: Mapping[str, np.ndarray],
    outputs: Sequence[np.ndarray],
    spikes: Sequence[np.ndarray],
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Holds a free run against the neurons' equations, driven by its own spikes.

    Args:
        probe: The artifact.
        layers: Its layers: equations, initial membranes and bounds.
        bounds: Absolute rounding bound of each output.
        feeds: The inputs of the run.
        outputs: What the run put out.
        spikes: Every layer's spikes in the run, `[T, B, ...]`.

    Returns:
        How many decisions of each layer contradict its own current by more than rounding, and faults.
    """
    answers, currents = probe.currents(feeds, list(spikes))
    unexplained, faults = [], membrane_faults(probe, layers, spikes, currents)
    for index, (layer, own, current) in enumerate(zip(layers, spikes, currents, strict=True)):
        current = current.reshape(own.shape)
        if layer.steps is not None:
            unexplained.append(followed(probe, index, layer, current, own, OWN * layer.bound).contradictions)
            if unexplained[-1]:
                faults.append(
                    f"{layer.path}: running freely, {unexplained[-1]:,} of {own.size:,} outputs are not what its own "
                    "step makes of its own current, from the reference's initial states"
                )
            continue
        margin = _contradictions(layer, own, current)
        explained = min(OWN * layer.bound, float(np.finfo(margin.dtype).max))  # a bound may be none
        unexplained.append(int((margin > explained).sum()))
        if unexplained[-1]:
            faults.append(
                f"{layer.path}: running freely, {unexplained[-1]:,} of {own.size:,} spikes contradict its own current "
                f"and membrane, by up to {float(margin.max()):.3g} (rounding explains {OWN * layer.bound:.2g})"
            )
    for (name, bound), y, answer in zip(bounds.items(), outputs, answers, strict=True):
        if not in_bounds(y, answer, 2.0 * bound):
            faults.append(f"output {name!r}: running freely, it does not follow from the layers' own spikes")
    return tuple(unexplained), tuple(faults)


def membrane_faults(
    probe: Probe, layers: Sequence[LayerVector], spikes: Sequence[np.ndarray], currents: Sequence[np.ndarray]
) -> list[str]:
    """Holds the membranes of the last free run against the equations, driven by its own currents and spikes.

    Before a layer's first call stands the reference's initial membrane, which no current explains. Before its later
    calls (the steps of a step form, the calls of a neuron in a loop) and after the last one stands what the calls
    before lead to.

    Args:
        probe: The artifact, after a free run.
        layers: Its layers: equations, initial membranes and bounds.
        spikes: Every layer's spikes in the run, `[T, B, ...]`.
        currents: Every layer's currents; () where they are not known: then initial membranes alone are compared.
    """
    faults = []
    unknown = (None,) * len(layers)
    starts, last = probe.initial_membranes() or unknown, probe.membranes() or unknown
    for index, (layer, own, given) in enumerate(zip(layers, spikes, starts, strict=True)):
        if not own.size:
            continue
        if layer.steps is not None:
            faults += state_faults(probe, index, layer, currents[index].reshape(own.shape) if currents else None, own)
            continue
        if given is not None and not _is_start(layer, given[0], own):
            faults.append(
                f"{layer.path}: its initial membrane is {_range(given[0])}, the reference's {_range(layer.init)}"
            )
            continue
        if not currents:
            continue
        current = currents[index].reshape(own.shape)
        charged, before = layer.follow(current, own)
        bound = OWN * layer.bound / SIDES
        if given is not None and not in_bounds(given.reshape(-1), before[:: len(own) // len(given)].reshape(-1), bound):
            faults.append(f"{layer.path}: a membrane is not carried on from call to call")
        after = dynamics.after_spike(charged[-1], own[-1].astype(charged.dtype), layer.parameters)
        membrane = last[index]
        if membrane is not None and not in_bounds(membrane.reshape(after.shape), after, bound):
            faults.append(f"{layer.path}: the membrane that it hands on is not the one its current and spikes lead to")
    return faults


def _is_start(layer: LayerVector, given: np.ndarray, own: np.ndarray) -> bool:
    """Whether a membrane is the reference's initial one but for one rounding, or for those of what computes it."""
    wanted = layer.start(own.shape[1:], np.float64).reshape(-1)
    if given.size not in (1, wanted.size):
        return False
    off = np.abs(given.reshape(-1).astype(np.float64) - wanted)
    # What a later call starts from, where a module changes it (a membrane that it bounds), is computed by the program.
    later = "@" in layer.path and isinstance(layer.init, np.ndarray)
    computed = OWN * layer.bound / SIDES if later else 0.0
    return bool((off <= np.maximum(2.0 * unit_of(given.dtype) * np.abs(wanted), computed)).all())


def _range(values: float | np.ndarray) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _contradictions(layer: LayerVector, own: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Returns the distance of the membrane from the threshold where a spike contradicts it, else 0."""
    charged, _ = layer.follow(current, own)
    distance = charged - charged.dtype.type(layer.parameters["v_threshold"])
    off = (distance >= 0) != own.astype(bool)
    return np.where(off, np.where(np.isfinite(distance), np.abs(distance), np.inf), 0.0)


def _unforced(
    vectors: Vectors, differs: Sequence[np.ndarray], first: tuple[int, str, int]
) -> tuple[Literal["first", "none"], tuple[str, ...]]:
    """Judges the first difference of an artifact that cannot be given spikes: it must be at a near miss.

    From the first near miss of a hidden layer on, what that layer did may be its cause.
    """
    t, path, index = first
    at = next(k for k, layer in enumerate(vectors.layers) if layer.path == path)
    layer = vectors.layers[at]
    if layer.near is None or (vectors.hidden and t >= vectors.hidden_from):
        return "none", ()
    step = differs[at][t].size
    if t * step + index in set(layer.near.tolist()):
        return "first", ()
    fault = f"{path}: running freely, it parts from the reference at step {t} where no membrane is near the threshold"
    return "first", (fault,)


def _first(layers: Sequence[LayerVector], differs: Sequence[np.ndarray]) -> tuple[int, str, int] | None:
    """Returns step, layer and flat index of the first difference, in the order of time and then of layers."""
    found = []
    for order, (layer, where) in enumerate(zip(layers, differs, strict=True)):
        steps = where.reshape(len(where), -1)
        hit = np.flatnonzero(steps.any(axis=1))
        if hit.size:
            found.append((int(hit[0]), order, layer.path, int(np.argmax(steps[hit[0]]))))
    if not found:
        return None
    t, _, path, index = min(found)
    return t, path, index
