"""The kernel `spike_linear_lif`; its README has the equations."""

from neurokit.kernels.spike_linear_lif import entry as entry
from neurokit.kernels.spike_linear_lif import fusion as fusion
