"""From a captured program and a real input to a network and its spikes: the only part of hw_sim that uses torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from neurokit.capture import opened
from neurokit.capture.reference import fed_back
from neurokit.errors import InputError
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.trace.sample import Sample, one_sample
from neurokit.hw_sim.trace.tracer import Tracer

if TYPE_CHECKING:
    from neurokit.capture import Captured

__all__ = ["trace"]


def trace(captured: Captured, x: Sample, sample: str = "") -> Workload:
    """Runs one sample through a captured program and returns its layer graph with every spike.

    Args:
        captured: A spiking model in the sequence form with a fixed number of time steps, or a model without spikes,
            whose one pass is a step.
        x: One sample, `[T, 1, *shape]` or `[T, *shape]`; for a model that repeats its image itself `[1, *shape]`
            or `[*shape]`. Of a model with several inputs every one by its name.
        sample: What was run, for reports.

    Returns:
        The network, what of it could not be counted, and the spikes.

    Raises:
        InputError: If a spiking model has no fixed T, or x has the wrong shape or holds NaN.
    """
    if captured.spiking and (captured.form != "sequence" or not isinstance(captured.time_steps, int)):
        raise InputError(
            f"the captured form is {captured.form!r} with T = {captured.time_steps}",
            expected="the sequence form with a fixed T",
            fix="capture(model, time_steps=4)",
        )
    given = one_sample(captured, x)
    tracer = Tracer(opened(captured))
    with torch.no_grad():
        outputs = tracer.run(given, fed_back(tracer.captured, tracer.module, given))
    network = tracer.builder.network(captured.spec.name, outputs)
    return Workload(network, tracer.builder.rasters, sample, tracer.builder.inputs)
