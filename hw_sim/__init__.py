"""Joules and latency of a spiking network on real chips: counted once, mapped, priced many times."""

from __future__ import annotations

from neurokit.hw_sim.chips.file import chip_names, load_chip
from neurokit.hw_sim.chips.profile import HardwareProfile, chip_card
from neurokit.hw_sim.simulate import DEFAULT_DEVICES, DEFAULT_ESTIMATORS, simulate_workload, simulate_workloads

__all__ = [
    "DEFAULT_DEVICES",
    "DEFAULT_ESTIMATORS",
    "HardwareProfile",
    "chip_card",
    "chip_names",
    "load_chip",
    "simulate_workload",
    "simulate_workloads",
]
