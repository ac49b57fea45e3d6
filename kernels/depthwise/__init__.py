"""The kernel `depthwise`; its README has the equations."""

from neurokit.kernels.depthwise import examples as examples
