"""The event-driven engine: computes an integer spiking network from events alone, on the CPU."""

from __future__ import annotations

from neurokit.hw_sim.engine.integer import IntegerNetwork, IntegerPopulation, IntegerProjection, Rescale
from neurokit.hw_sim.engine.run import Engine, EngineRun

__all__ = ["Engine", "EngineRun", "IntegerNetwork", "IntegerPopulation", "IntegerProjection", "Rescale"]
