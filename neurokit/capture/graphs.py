"""Several graphs of one model, captured one by one: they are retraced together, and pass values on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from neurokit.capture.types import Captured
from neurokit.dims import Size
from neurokit.errors import Unsupported, UnsupportedError
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


def several_and_neurons(spec: ModelSpec) -> UnsupportedError:
    """Returns the error of a model with several graphs in which there are spiking neurons."""
    why = "it has several graphs and spiking neurons: T is the model's, and no graph says whether it runs over time"
    fix = "give the spiking graph, with its declared states, a model of its own; what the others give it is an input"
    reason = Unsupported("", spec.name, why, fix)
    return UnsupportedError(f"model {spec.name!r} cannot be captured", [reason])
