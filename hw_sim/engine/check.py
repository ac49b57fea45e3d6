"""Computes a recorded network once more, from events alone, and compares every spike with the record."""

from __future__ import annotations

import time
from collections.abc import Sequence

from neurokit.hw_sim.engine.dyadic import integer_network
from neurokit.hw_sim.engine.run import Engine
from neurokit.hw_sim.graph.counts import Workload
from neurokit.reports.energy import EventCheck


def check_events(workloads: Sequence[Workload], threads: int = 1) -> EventCheck:
    """Runs samples of a network in exact form through the event engine.

    Args:
        workloads: What torch computed: connections, inputs and spikes.
        threads: Threads of the engine.

    Returns:
        How many spike decisions were compared and how many differ; in exact form none does.

    Raises:
        UnsupportedError: If the network is not in exact form; lists every reason.
    """
    decisions = differing = events = 0
    seconds = 0.0
    layers: dict[str, None] = {}
    for workload in workloads:
        net, inputs = integer_network(workload.network, workload.time_steps, workload.inputs)
        engine = Engine(net, workload.time_steps, threads)
        begin = time.perf_counter()
        run = engine.run(inputs)
        seconds += time.perf_counter() - begin
        events += run.synaptic_events
        for population in workload.network.neurons:
            got, wanted = run.rasters[population.name], workload.rasters[population.name]
            found = int((got.unpack() != wanted.unpack()).sum())
            decisions += wanted.neurons * wanted.time_steps
            differing += found
            layers |= {population.name: None} if found else {}
    return EventCheck(decisions, differing, events, seconds, tuple(layers))
