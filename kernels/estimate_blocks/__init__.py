"""The kernel `estimate_blocks`; its README has the equations."""

from neurokit.kernels.estimate_blocks import entry as entry
