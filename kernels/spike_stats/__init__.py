"""The kernel `spike_stats`; its README has the equations."""

from neurokit.kernels.spike_stats import entry as entry
