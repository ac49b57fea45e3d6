"""Reads and writes the YAML files of the SANA-FE simulator: architectures as chips, networks with their placement."""

from __future__ import annotations

from neurokit.hw_sim.sanafe.architecture import read_architecture, write_architecture
from neurokit.hw_sim.sanafe.read import SanafeNetwork, read_network
from neurokit.hw_sim.sanafe.write import write_network

__all__ = ["SanafeNetwork", "read_architecture", "read_network", "write_architecture", "write_network"]
