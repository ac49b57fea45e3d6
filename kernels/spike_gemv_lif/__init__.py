"""The kernel `spike_gemv_lif`; its README has the equations."""

from neurokit.kernels.spike_gemv_lif import entry as entry
