"""The kernel `sparse_decode`; its README has the equations."""

from neurokit.kernels.sparse_decode import entry as entry
