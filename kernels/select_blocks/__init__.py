"""The kernel `select_blocks`; its README has the equations."""

from neurokit.kernels.select_blocks import entry as entry
