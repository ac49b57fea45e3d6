"""Makes the test vectors of an artifact: runs the captured program once and keeps what verification needs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.garbage import put_off
from neurokit.neurons import dynamics
from neurokit.parity.calls import make_calls
from neurokit.parity.covering import TOLERANCE
from neurokit.parity.own_rounding import doubled, far_below, roundings
from neurokit.parity.record_covering import analysed, calls_of_layers, record_coverings
from neurokit.parity.record_text import make_text
from neurokit.parity.rounding import coarsest
from neurokit.parity.units import unit_of
from neurokit.parity.vectors import LayerVector, Vectors, replay

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import torch

    from neurokit.capture import Captured
    from neurokit.capture.reference import Record
    from neurokit.parity.rounding import Magnitude

NEAR = 4.0  # bounds from the threshold within which two implementations may decide differently
_SAMPLES = 4096  # membranes kept a layer, enough to see an error that flips no spike


@put_off()
def make_vectors(
    captured: Captured,
    *,
    batch: int = 1,
    seed: int = 0,
    feeds: Mapping[str, torch.Tensor] | None = None,
    notes: tuple[str, ...] = (),
    keeps: bool = False,
) -> Vectors:
    """Runs the captured program once and keeps what verification needs.

    Args:
        captured: The captured model, in the sequence form (a fixed T, or dynamic: then the spec's).
        batch: Number of samples to draw.
        seed: Seed of the draw.
        feeds: The inputs themselves by name, instead of drawn ones.
        notes: What is known of the reference already.
        keeps: Whether the artifact keeps declared states between calls, as a step form does.
    """
    from neurokit.capture import opened
    from neurokit.capture.reference import example_inputs, fed_back, record_all
    from neurokit.capture.stepping import layer_names, unread_layers
    from neurokit.capture.work import WorkCounter
    from neurokit.parity.carried import carried_outputs
    from neurokit.parity.reads import Reads, joined
    from neurokit.program.readable import called, readable

    captured = opened(captured)
    steps = captured.known_steps
    batch = batch if captured.batch == "dynamic" else captured.batch
    feeds = example_inputs(captured.spec, steps, batch, seed) if feeds is None else feeds
    given = tuple(feeds[info.name] for info in captured.spec.inputs)
    module = readable(captured.program)
    states = fed_back(captured, module, given)
    first = Reads()
    outputs, records = record_all(module, (*given, *states), watch=first)
    every = joined([first])
    outputs = outputs[: len(captured.output_names)]
    forced = [entry.spikes for entry in records]
    currents, magnitudes = analysed(captured, module, forced, given, states)
    # Of several graphs the outputs of calls in a row are compared, and no layers.
    calls_of = {} if captured.parts else calls_of_layers(layer_names(captured.program, captured.calls))
    by_path = {neuron.path: neuron for neuron in captured.neurons}
    layers = tuple(
        make_layer(path, by_path, [records[at] for at in places], [currents[at] for at in places], index)
        for index, (path, places) in enumerate(calls_of.items())
    )
    names = captured.output_names
    arrays = {info.name: value.numpy() for info, value in zip(captured.spec.inputs, given, strict=True)}
    time_input = "image" if captured.spec.time_input == "image" or steps is None else "sequence"
    calls, more = ((), ()) if captured.spiking else make_calls(captured.graphs, keeps, seed)
    if any(part.calls for part in captured.parts):
        said = f"neurons of several graphs are compared through the outputs of {len(calls)} calls, not layer by layer"
        more = (*more, said)
    text, missing = make_text(captured, seed) if keeps else (None, ())
    wide = None if records else doubled(called(module))  # with neurons every layer has its own proven bound
    with WorkCounter() as counter:
        own = {} if records else dict(zip(names, roundings(wide, (*given, *states), outputs), strict=False))
    covered = not calls and not captured.spec.states  # with states or a free length, calls in a row are compared
    return Vectors(
        feeds=arrays,
        outputs={n: y.detach().numpy() for n, y in zip(names, outputs, strict=True)},
        output_bounds=_bounds(names, magnitudes),
        layers=layers,
        time_input=time_input,
        time_output=captured.time_output,
        seed=seed,
        notes=(*notes, *more, *missing, *_not_forced(captured, calls_of)),
        calls=calls,
        carried=carried_outputs(captured) if captured.spiking else (),
        text=text,
        roundings=own,
        coverings=record_coverings(
            captured,
            module,
            arrays,
            records,
            layers,
            0 if time_input == "image" else 1,
            every,
            wide,
            counter.work // max(1, batch),
            far_below(own, TOLERANCE),
        )
        if covered
        else (),
        ranges={info.name: (info.low, info.high) for info in captured.spec.inputs},
        unit=max(coarsest(module if part is captured else readable(part.program)) for part in captured.graphs),
        rounded={name: magnitude.roundings for name, magnitude in zip(names, magnitudes, strict=False)},
        idle=unread_layers(captured.program, captured.calls, len(names)) if calls_of else (),
        unread=every.unread(first),  # arguments are computed in order: the covering runs are made by now
    )


def _bounds(names: Sequence[str], magnitudes: Sequence[Magnitude]) -> dict[str, float]:
    """Returns the rounding bound of each output; an output behind a mask of infinities has none."""
    bounds = {
        name: float(magnitude.error().max()) if magnitude.size.numel() else 0.0
        for name, magnitude in zip(names, magnitudes, strict=False)
    }
    return {name: bound for name, bound in bounds.items() if math.isfinite(bound)}


def _sample(size: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(size, min(_SAMPLES, size), replace=False))


def _not_forced(captured: Captured, layers: Collection[str]) -> list[str]:
    """Returns the neurons that no node of the program stands for, with the reason, one line each."""
    twin: Any = captured.module
    reasons = {slot.path: slot.adapter.why_not_dynamic for slot in getattr(twin, "slots", ())}
    left = [n for n in captured.neurons if n.op == "decomposed" and n.path not in layers]
    return [
        f"{n.path or 'model'} ({n.kind}) is not teacher-forced, it is compared through what follows it: "
        + (reasons.get(n.path) or "its output or state changes shape or type from step to step")
        for n in left
    ]


def make_layer(
    path: str, neurons: Mapping[str, Any], entries: Sequence[Any], magnitudes: Sequence[Magnitude], seed: int
) -> LayerVector:
    """Returns one layer of test vectors; calls of a neuron that is called several times follow one another along T."""
    if hasattr(entries[0], "key"):
        from neurokit.parity.record_steps import step_layer

        return step_layer(path, entries, magnitudes, seed)
    neuron = neurons[path]
    parameters = {k: v for k, v in neuron.parameters.items() if k not in ("surrogate", "alpha", "detach_reset")}
    spikes = _in_a_row([entry.spikes.numpy() for entry in entries]).astype(np.uint8)
    x = _in_a_row([entry.current.numpy() for entry in entries])
    error = [m.error().expand(e.current.shape).numpy() for m, e in zip(magnitudes, entries, strict=True)]
    v0 = entries[0].v0.expand(entries[0].current.shape[1:]).numpy()
    restarts = _restarts(entries)
    charged = replay(neuron.op, parameters, x, spikes, v0, restarts)[0]
    at = _sample(charged.size, seed)
    bound = membrane_bound(neuron.op, parameters, x, charged, _in_a_row(error))
    near = min(NEAR * bound, float(np.finfo(charged.dtype).max))  # a bound may be none
    return LayerVector(
        neuron.path,
        neuron.kind,
        neuron.op,
        parameters,
        spikes,
        _initial(v0),
        bound,
        all(magnitude.rigorous for magnitude in magnitudes),
        at,
        charged.reshape(-1)[at],
        np.flatnonzero(np.abs(charged - parameters["v_threshold"]) <= near),
        restarts,
        rounded=min(magnitude.roundings for magnitude in magnitudes),
    )


def _in_a_row(calls: Sequence[np.ndarray]) -> np.ndarray:
    """Returns calls one after the other along T; of one call no copy is made."""
    return calls[0] if len(calls) == 1 else np.concatenate(calls)


def _initial(v0: np.ndarray) -> float | np.ndarray:
    """Returns an initial membrane `[B, ...]` as one number, or as one sample's values where they are those of all."""
    if not v0.size:
        return 0.0
    if (v0 == v0.reshape(-1)[0]).all():
        return float(v0.reshape(-1)[0])
    return v0[:1].copy() if (v0 == v0[:1]).all() else v0.copy()


def _restarts(entries: Sequence[Record]) -> tuple[int, ...]:
    """Returns the steps at which calls after the first begin that start anew, not where the call before ended."""
    found, steps = [], len(entries[0].spikes)
    for before, entry in pairwise(entries):
        v0 = entry.v0.expand(entry.current.shape[1:])
        carried, anew = bool((v0 == before.v_last).all()), bool((v0 == entries[0].v0).all())
        if anew and not carried:
            found.append(steps)
        steps += len(entry.spikes)
    return tuple(found)


def membrane_bound(op: str, parameters: dict[str, Any], x: np.ndarray, charged: np.ndarray, error: np.ndarray) -> float:
    """Carries the rounding bound of the input current through the membrane's equations.

    Each step adds at most six roundings of numbers no larger than the membrane and the current; the leak shrinks
    what was there before. Returns the largest bound over all elements and steps.
    """
    unit = unit_of(x.dtype)
    leak = 0.0 if op == "if_" else 1.0 / parameters["tau"]
    gain = leak if op != "if_" and parameters["decay_input"] else 1.0
    carried = np.zeros_like(error[0], dtype=np.float64) if len(error) else np.zeros(())
    worst = 0.0
    level = max(abs(parameters["v_threshold"]), abs(dynamics.subtracted(parameters)))
    for t in range(x.shape[0]):
        size = np.abs(charged[t]).astype(np.float64) + np.abs(x[t]).astype(np.float64) + level
        carried = (1.0 - leak) * carried + gain * error[t] + 6.0 * unit * size
        worst = max(worst, float(carried.max(initial=0.0)))
    return worst
