"""Several graphs of one model, captured one by one: they are retraced together, and pass values on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from neurokit.capture.twin import Twin
from neurokit.capture.types import Captured
from neurokit.dims import Size
from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.spec import ModelSpec


def together(parts: Sequence[Captured]) -> Captured:
    """Returns the first graph of a model with several; it knows the others, and retraces them with it."""

    def retrace(**changes: Any) -> Captured:
        stateless = {name: value for name, value in changes.items() if name != "form"}
        return together([part.retrace(**(changes if part.spec.states else stateless)) for part in parts])

    _check_passed_on(parts)
    return replace(parts[0], parts=tuple(parts), retrace=retrace)


def _check_passed_on(parts: Sequence[Captured]) -> None:
    """Refuses what is passed from one graph to the next if it does not fit there."""
    given = {f"{part.graph}.{port.name}": port for part in parts for port in part.outputs}
    reasons = []
    for part in parts:
        for port in (port for port in part.inputs if port.source):
            source = given.get(port.source)
            if source is None:
                why = f"its {port.name!r} comes from {port.source!r}, which no graph gives ({', '.join(given)})"
            elif source.dtype != port.dtype or not _alike(source.shape, port.shape):
                shapes = [f"[{', '.join(map(str, each.shape))}] {each.dtype}" for each in (port, source)]
                why = f"its {port.name!r} is {shapes[0]}, and {port.source!r}, where it comes from, is {shapes[1]}"
            else:
                continue
            reasons.append(Unsupported(part.graph, part.spec.name, why, "declare the port as that output is"))
    if reasons:
        raise UnsupportedError(f"model {parts[0].spec.name!r} cannot be captured", reasons)


def _alike(a: Sequence[Size], b: Sequence[Size]) -> bool:
    """Whether two shapes may be equal: numbers are, and a free axis may be anything."""
    pairs = zip(a, b, strict=False)
    return len(a) == len(b) and all(x == y or not (isinstance(x, int) and isinstance(y, int)) for x, y in pairs)


def refuse_time_steps(spec: ModelSpec, asked: Any) -> None:
    """Refuses a number of time steps for a model of several graphs: a call of a graph is one step of its neurons.

    Raises:
        InputError: If one was asked for.
    """
    if asked is not None:
        raise InputError(
            f"{asked!r} time steps were asked for, and model {spec.name!r} has several graphs",
            expected="no time steps: every call of a graph is one step, and membranes are its states",
            fix="leave --time-steps away",
        )


def sequences_in_graphs(twin: Twin) -> list[Unsupported]:
    """Returns every neuron that takes whole sequences, in a model whose graphs are called once a step."""
    why = "it takes a sequence [T, B, ...], and with several graphs every call of one is a step"
    return [
        Unsupported(slot.path, type(slot.module).__name__, why, "step_mode='s', or a model with one graph")
        for slot in twin.slots
        if getattr(slot.module, "step_mode", "s") == "m"
    ]
