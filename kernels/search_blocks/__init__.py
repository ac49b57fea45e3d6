"""The kernel `search_blocks`; its README has the equations."""

from neurokit.kernels.search_blocks import entry as entry
