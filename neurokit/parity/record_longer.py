"""What the reference answers over twice as many steps, where no word says what an output is over time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from neurokit.errors import NeurokitError
from neurokit.over_time import of_each
from neurokit.parity.record_covering import calls_of_layers

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from neurokit.capture import Captured
    from neurokit.parity.vectors import Vectors


def with_longer(captured: Captured, vectors: Vectors) -> Vectors:
    """Adds the reference's answers over `2 T` steps, every layer's spikes twice in a row, for a form with a free T.

    A first-spike time of a silent neuron is the number of steps, so that such an output need not repeat with its
    spikes. Outputs that are one per step, mean, sum, last or largest of the steps repeat, and need no record.

    Args:
        captured: The capture, in any form.
        vectors: Its test vectors.
    """
    kinds = zip(vectors.outputs, of_each(vectors.time_output, len(vectors.outputs)), strict=True)
    names = [name for name, kind in kinds if kind == "auto" and name not in vectors.carried]
    if not names or not vectors.layers or any(layer.restarts for layer in vectors.layers):
        return vectors
    try:
        found = _over_twice(captured, vectors)
    except NeurokitError:
        found = {}
    missing = [f"output {name!r} is not compared over more steps" for name in names if name not in found]
    return replace(vectors, longer={n: found[n] for n in names if n in found}, notes=(*vectors.notes, *missing))


def _over_twice(captured: Captured, vectors: Vectors) -> dict[str, np.ndarray]:
    """Returns every output of the reference; {} if its layers are not called as they are over T steps."""
    import torch

    from neurokit.capture import opened
    from neurokit.capture.reference import fed_back, record_all
    from neurokit.capture.stepping import layer_names
    from neurokit.program.readable import readable

    given = tuple(torch.from_numpy(np.concatenate((value, value))) for value in vectors.feeds.values())
    long = opened(captured.retrace(form="sequence", time_steps=len(given[0])))
    calls = calls_of_layers(layer_names(long.program, long.calls))
    if list(calls) != [layer.path for layer in vectors.layers]:
        return {}
    spikes = _of_calls(calls.values(), vectors, given[0])
    module = readable(long.program)
    states = fed_back(long, module, given, spikes)
    outputs, _ = record_all(module, (*given, *states), spikes, wanted=len(long.output_names))
    return {name: y.detach().numpy() for name, y in zip(long.output_names, outputs, strict=False)}


def _of_calls(calls: Iterable[list[int]], vectors: Vectors, like: torch.Tensor) -> list[torch.Tensor]:
    """Returns what every neuron node puts out, in order: each layer's spikes twice in a row, over its calls."""
    import torch

    forced: dict[int, torch.Tensor] = {}
    for places, layer in zip(calls, vectors.layers, strict=True):
        twice = torch.from_numpy(np.concatenate((layer.spikes, layer.spikes)))
        twice = twice.to(like.dtype) if layer.steps is None else twice
        forced |= dict(zip(places, twice.chunk(len(places)), strict=True))
    return [forced[at] for at in range(len(forced))]
