"""Runs the reference freely on many samples, for a form that hides layers or decides by hand (blind.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.over_time import of_each
from neurokit.parity.blind import Blind, feeds_of
from neurokit.parity.covering import SIDES, Output
from neurokit.parity.own_decisions import own_decisions
from neurokit.parity.own_rounding import doubled, in_float64
from neurokit.parity.record_covering import analysed, bound_of, calls_of_layers
from neurokit.parity.record_vectors import make_layer
from neurokit.parity.stimuli import DECISIONS, OPERATIONS, Kind
from neurokit.parity.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neurokit.capture import Captured
    from neurokit.parity.vectors import LayerVector, Vectors

_FEWEST = 8  # of a network that decides by itself, if any
_SAMPLES = 64  # of a network whose decisions are few enough
_OF_TWINS = 256  # where a package is nothing but its outputs: its weights are seen by nothing else
_BEYOND = 8
# Of rare neurons and decisions by hand: what is left of rounding beside the distance from float64, and what no rounding
# but a spike makes, in units of the largest output; decisions of all samples below which none is expected within
# rounding of its threshold.
_ROUNDED, _MOVED, _FEW = 1e-5, 1e-3, 20_000
_UNITS = 64  # of the element type, that rounding moves an output by: 0.03 in float16


def with_blind(captured: Captured, vectors: Vectors, entries: Mapping[str, Any]) -> Vectors:
    """Adds blind runs where a form takes neurons apart, shows them in a twin beside what is run, or spikes by hand.

    A twin is compiled of the same program, and a fault of the package alone is none of its layers: of the package
    itself outputs are all that is seen.

    Args:
        captured: The capture, in the sequence form.
        vectors: Its test vectors.
        entries: What the target says of the artifact.
    """
    from neurokit.capture import opened
    from neurokit.program.readable import called, readable

    paths = {layer.path.partition("@")[0] for layer in vectors.layers}
    neurons, twin = entries.get("neurons", ()), _beside(entries.get("target_info", {}))
    hidden = {neuron["path"].partition("@")[0] for neuron in neurons if twin or neuron["op"] == "decomposed"}
    if vectors.calls or (not hidden and captured.spec.states):
        return vectors
    own = 0 if hidden or vectors.layers else own_decisions(captured)  # beside layers that are forced
    common = bool(hidden) and hidden <= paths and all(layer.near is not None for layer in vectors.layers)
    axis = 0 if vectors.time_input == "image" else 1
    batch = next(iter(vectors.feeds.values())).shape[axis]
    decisions = own + sum(layer.spikes.size for layer in vectors.layers) // max(1, batch)
    if not hidden and not (own and _affordable(captured, vectors, decisions, batch)):
        return vectors
    wanted = _OF_TWINS if twin and captured.batch == "dynamic" else _SAMPLES
    most = max(4, min(wanted, DECISIONS // max(1, decisions)))
    sizes: list[tuple[Kind, int]] = [("range", batch)] * -(-most // batch)
    if captured.batch == "dynamic":
        sizes = [("range", most), ("beyond", min(_BEYOND, most))] if common else [("range", most)]
    captured = opened(captured)
    module = readable(captured.program)
    wide = None if common else doubled(called(module))
    made: list[Blind | None] = []
    for seed, (kind, count) in enumerate(sizes):
        try:
            run = _Run(captured, module, vectors, kind, 100 + seed, count)
            made.append(_of_common(run) if common else _of_rare(run, wide, decisions))
        except (IndexError, RuntimeError, ValueError):
            if kind == "range":
                raise  # beyond its range a network need not run
    return replace(vectors, blind=tuple(one for one in made if one is not None))


def _affordable(captured: Captured, vectors: Vectors, decisions: int, batch: int) -> bool:
    """Returns whether a network that decides by itself is small enough for as many samples as tell something."""
    if _FEWEST * max(decisions, sum(y.size for y in vectors.outputs.values()) // batch) > DECISIONS:
        return False
    import torch

    from neurokit.capture.work import work_of

    given = tuple(torch.from_numpy(value) for value in vectors.feeds.values())
    module = captured.program.module()
    states = captured.initial_states(batch)
    try:
        with torch.no_grad():
            return _FEWEST * work_of(lambda: module(*given, *states)) // batch <= OPERATIONS
    except NotImplementedError:  # torch counts nothing within a scan: its decisions are few, then
        return True


def _beside(info: Mapping[str, Any]) -> bool:
    """Returns whether layers are shown by a twin; in 16 bits, whose bounds are others, the two are held together."""
    return bool(info.get("calls")) and info.get("precision", "float32") == "float32"


class _Run:
    """The reference, run freely on the inputs of a blind run."""

    def __init__(self, captured: Captured, module: Any, vectors: Vectors, kind: Kind, seed: int, batch: int) -> None:
        import torch

        from neurokit.capture.reference import fed_back, record_all

        self.captured, self.kind, self.seed, self.batch = captured, kind, seed, batch
        self.module = module
        self.given = tuple(torch.from_numpy(value) for value in feeds_of(vectors, kind, seed, batch).values())
        self.states = fed_back(self.captured, self.module, self.given)
        wanted = len(self.captured.output_names)
        self.outputs, self.records = record_all(self.module, (*self.given, *self.states), wanted=wanted)
        self.unit = vectors.unit if vectors.unit > unit_of("float32") else 0.0
        self.steps = self.captured.known_steps or max((len(entry.spikes) for entry in self.records), default=1)

    def blind(self, until: np.ndarray, bounds: Sequence[np.ndarray], spare: int = 0) -> Blind:
        """Returns it with what it is held to."""
        named = zip(self.captured.output_names, self.outputs, bounds, strict=False)
        kept = {name: Output(y.detach().numpy(), bound) for name, y, bound in named}
        return Blind(self.kind, self.seed, self.steps, until, kept, spare)


def _of_common(run: _Run) -> Blind:
    """Holds outputs to their proven bounds, up to the first step at which a membrane is near its threshold."""
    from neurokit.capture.stepping import layer_names

    spikes = [entry.spikes for entry in run.records]
    currents, magnitudes = analysed(run.captured, run.module, spikes, run.given, run.states)
    by_path = {neuron.path: neuron for neuron in run.captured.neurons}
    until = np.full(run.batch, run.steps)
    for path, places in calls_of_layers(layer_names(run.captured.program, run.captured.calls)).items():
        entries, sizes = [run.records[at] for at in places], [currents[at] for at in places]
        until = np.minimum(until, _first_near(make_layer(path, by_path, entries, sizes, run.seed), run.steps))
    return run.blind(until, [bound_of(y, magnitude) for y, magnitude in zip(run.outputs, magnitudes, strict=False)])


def _of_rare(run: _Run, wide: Any, decisions: int) -> Blind | None:
    """Holds outputs to what the reference is off by in float64; samples that this moves far are left out.

    Returns:
        The run; None where the reference does not run in float64, or more than one sample in four would be spared.
    """
    exact = in_float64(wide, (*run.given, *run.states))
    if exact is None or any(not bool(y.isfinite().all()) for y in run.outputs):
        return None
    names = run.captured.output_names
    kinds = of_each(run.captured.time_output, len(names))
    axes = [1 if kind == "sequence" else 0 for kind in kinds]
    until, bounds = np.full(run.batch, run.steps), []
    for y, double, axis in zip(run.outputs, exact, axes, strict=False):
        if y.dim() <= axis or y.shape[axis] != run.batch:
            return None
        rows = np.moveaxis(y.double().numpy(), axis, 0).reshape(run.batch, -1)
        off = np.abs(np.moveaxis(double.double().numpy(), axis, 0).reshape(run.batch, -1) - rows).max(1, initial=0.0)
        largest = float(np.abs(rows).max(initial=0.0))
        moved = off > max(_MOVED, _UNITS * run.unit) * largest
        until[moved] = 0
        spared = max(_ROUNDED, SIDES * run.unit) * largest
        bounds.append(np.asarray(SIDES * off[~moved].max(initial=0.0) + spared, np.float32))
    moved_samples = int((until == 0).sum())
    spare = 2 * moved_samples + (decisions * run.batch > _FEW)
    return run.blind(until, bounds, spare) if 4 * spare <= run.batch else None


def _first_near(layer: LayerVector, steps: int) -> np.ndarray:
    """Returns the first step at which rounding may decide in a layer, `[B]`; T where it may at none."""
    total, batch = layer.spikes.shape[:2]
    found = np.full(batch, steps)
    if layer.near is None:
        return np.zeros_like(found)
    step, sample = np.unravel_index(layer.near, layer.spikes.shape)[:2]
    # Calls of a layer that is not called over all steps at once follow one another: their step is not known.
    np.minimum.at(found, sample, step if total == steps else np.zeros_like(step))
    return found
