"""The kernel `pack`; its README has the equations."""

from neurokit.kernels.pack import entry as entry
