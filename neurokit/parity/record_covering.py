"""Runs the reference on the coverage stimuli, and keeps what a lowered model is compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.parity.covering import TOLERANCE, Cover, Covering, Output
from neurokit.parity.own_rounding import of_long_sums
from neurokit.parity.own_rounding import roundings as own_roundings
from neurokit.parity.stimuli import Kind, paired_spikes, positions, samples, stimulus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from neurokit.capture import Captured
    from neurokit.capture.reference import Watch
    from neurokit.parity.rounding import Magnitude
    from neurokit.parity.vectors import LayerVector


def record_coverings(
    captured: Captured,
    module: Any,
    feeds: Mapping[str, np.ndarray],
    records: Sequence[Any],
    vectors: Sequence[LayerVector],
    axis: int,
    watch: Watch | None = None,
    wide: Any | None = None,
    work: int = 0,
    narrow: bool = False,
) -> tuple[Covering, ...]:
    """Runs the program on inputs within the declared range and beyond it, with every layer firing at random.

    Args:
        captured: An opened capture.
        module: Its program as a graph module.
        feeds: The test vectors' inputs; their shapes are taken.
        records: What the program's neurons did on these.
        vectors: Their layers.
        axis: Axis of the samples in the inputs.
        watch: Called with every operation of every run.
        wide: The program in float64, of a model without neurons.
        work: Floating-point operations of one sample of such a model.
        narrow: Whether float32 is enough within the declared range (`own_rounding.far_below`).
    """
    batch = next(iter(feeds.values())).shape[axis]
    steps = max((len(entry.spikes) for entry in records), default=1)
    decisions = sum(entry.spikes.numel() for entry in records) // max(1, batch)
    if not records:
        steps, decisions = 4, sum(value.size for value in feeds.values()) // max(1, batch)
    free = captured.batch == "dynamic"
    many = samples(steps, decisions, work) if free else batch
    runs: tuple[tuple[Kind, int], ...] = (("range", many), ("beyond", 2 if free else batch))
    if not any(value.dtype.kind == "f" for value in feeds.values()):
        runs = runs[:1]
    made = []
    for seed, (kind, count) in enumerate(runs):
        try:
            double = None if narrow and kind == "range" else wide
            made.append(_record(captured, module, feeds, records, vectors, kind, seed, count, axis, watch, double))
        except (IndexError, RuntimeError, ValueError):
            if kind == "range":
                raise  # beyond its range a network need not run: an input that is an index, a check of its values
    return tuple(made)


def _record(
    captured: Captured,
    module: Any,
    feeds: Mapping[str, np.ndarray],
    records: Sequence[Any],
    vectors: Sequence[LayerVector],
    kind: Kind,
    seed: int,
    batch: int,
    axis: int,
    watch: Watch | None,
    wide: Any | None,
) -> Covering:
    import torch

    from neurokit.capture.reference import fed_back, record_all
    from neurokit.capture.stepping import layer_names

    ranges = {info.name: (info.low, info.high) for info in captured.spec.inputs}
    before = next(iter(feeds.values())).shape[axis]
    given = tuple(torch.from_numpy(v) for v in stimulus(feeds, ranges, kind, seed, batch, axis).values())
    layers = _layers(layer_names(captured.program, captured.calls), records, before, batch)
    drawn = [
        torch.from_numpy(vector.drawn(paired_spikes(_seed(seed, at), shape)))
        for at, ((_, shape), vector) in enumerate(zip(layers, vectors, strict=True))
    ]
    forced: dict[int, torch.Tensor] = {}
    for (places, _), spikes in zip(layers, drawn, strict=True):
        parts = spikes.split([len(records[at].spikes) for at in places])
        forced |= {at: part.to(records[at].spikes.dtype) for at, part in zip(places, parts, strict=True)}
    spikes_of_calls = [forced[at] for at in range(len(records))]
    states = fed_back(captured, module, given, spikes_of_calls)
    outputs, entries = record_all(module, (*given, *states), spikes_of_calls, watch, wanted=len(captured.output_names))
    # Without layers outputs are held to a relative error, and no bound is read.
    magnitudes, of_outputs = analysed(captured, module, spikes_of_calls, given, states) if records else ([], [])
    covers = tuple(
        _cover(_seed(seed, at), shape, [entries[k].current for k in places], [magnitudes[k] for k in places])
        for at, (places, shape) in enumerate(layers)
    )
    bounds = [bound_of(y, magnitude) for y, magnitude in zip(outputs, of_outputs, strict=False)]
    bounds = bounds if records else [np.zeros((), np.float32)] * len(outputs)
    once = TOLERANCE if axis == 0 else 0.0
    roundings = own_roundings(wide, (*given, *states), outputs, once, every=kind == "beyond")
    if kind == "beyond" and not records:  # few large numbers among many small ones: there the order of a sum tells
        roundings = [max(known, of_long_sums(module)) for known in roundings]
    kept = {
        name: Output(y.detach().numpy(), bound, rounding)
        for name, y, bound, rounding in zip(captured.output_names, outputs, bounds, roundings, strict=False)
    }
    return Covering(kind, seed, batch, covers, kept)


def _seed(run: int, layer: int) -> int:
    return 10_000 * (run + 1) + layer


def _layers(
    calls: Sequence[str], records: Sequence[Any], before: int, batch: int
) -> list[tuple[list[int], tuple[int, ...]]]:
    """Returns every layer's calls, and the shape of its spikes over all of them with another number of samples."""
    found = []
    for group in calls_of_layers(calls).values():
        shape = records[group[0]].spikes.shape
        steps = sum(len(records[at].spikes) for at in group)
        found.append((group, (steps, shape[1] // before * batch, *shape[2:])))
    return found


def _cover(
    seed: int, shape: tuple[int, ...], currents: Sequence[torch.Tensor], magnitudes: Sequence[Magnitude]
) -> Cover:
    at = positions(shape, seed)
    if len(currents) == 1:
        current, bound = _kept(currents[0], magnitudes[0], at)
        return Cover(seed, at, current, bound, shape)
    current = np.concatenate([value.numpy() for value in currents])
    bound = np.concatenate([bound_of(c, m) for c, m in zip(currents, magnitudes, strict=True)])
    return Cover(seed, at, current.reshape(-1)[at], bound.reshape(-1)[at].astype(np.float32), shape)


def _kept(current: torch.Tensor, magnitude: Magnitude, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the currents at some places and their bounds, which are computed there alone."""
    import torch

    places = torch.from_numpy(at)
    sizes = magnitude.size.expand(current.shape).reshape(-1)[places]
    kept = current.reshape(-1)[places]
    return kept.numpy(), bound_of(kept, replace(magnitude, size=sizes))


def bound_of(value: torch.Tensor, magnitude: Magnitude) -> np.ndarray:
    """Returns the rounding bound of every element of a value."""
    bound: np.ndarray = magnitude.error().expand(value.shape).detach().float().numpy()
    return bound


def calls_of_layers(calls: Sequence[str]) -> dict[str, list[int]]:
    """Returns the places of every layer's calls among all calls, by its path, in the order of the first calls."""
    places: dict[str, list[int]] = {}
    for at, path in enumerate(calls):
        places.setdefault(path, []).append(at)
    return places


def analysed(
    captured: Captured,
    module: Any,
    forced: list[torch.Tensor],
    given: tuple[torch.Tensor, ...],
    states: Sequence[torch.Tensor],
) -> tuple[list[Magnitude], list[Magnitude]]:
    """Returns the magnitudes of every call's current and of every output, under given spikes."""
    from neurokit.parity.rounding import analyse

    return analyse(module, forced, (*given, *states), _computed(captured, states), steps=True)


def _computed(captured: Captured, states: Sequence[torch.Tensor]) -> list[int]:
    """Returns the places, among the program's inputs, of fed-back values that are no spikes: these are rounded."""
    first = len(captured.spec.inputs)
    return [first + at for at in captured.feedback if not bool(((states[at] == 0) | (states[at] == 1)).all())]
