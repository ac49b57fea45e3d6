"""The kernel `depthwise`; its README has the equations."""

from neurokit.kernels.depthwise import entry as entry
