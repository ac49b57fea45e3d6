"""The compiled loops of the event engine (numba); imported when an engine first runs."""

from __future__ import annotations

from neurokit.hw_sim.engine.kernels.dense import advance_each, count_places, multiply, pool_maximum, rescale, weigh
from neurokit.hw_sim.engine.kernels.events import channels_last, list_events, pack_events
from neurokit.hw_sim.engine.kernels.neurons import CURRENT, INTEGRATE, LEAK, LEAK_WITH_INPUT, integrate
from neurokit.hw_sim.engine.kernels.route import advance

__all__ = [
    "CURRENT",
    "INTEGRATE",
    "LEAK",
    "LEAK_WITH_INPUT",
    "advance",
    "advance_each",
    "channels_last",
    "count_places",
    "integrate",
    "list_events",
    "multiply",
    "pack_events",
    "pool_maximum",
    "rescale",
    "weigh",
]
