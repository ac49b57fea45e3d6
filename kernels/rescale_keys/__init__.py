"""The kernel `rescale_keys`; its README has the equations."""

from neurokit.kernels.rescale_keys import entry as entry
