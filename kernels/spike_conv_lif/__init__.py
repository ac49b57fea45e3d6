"""The kernel `spike_conv_lif`; its README has the equations."""

from neurokit.kernels.spike_conv_lif import entry as entry
from neurokit.kernels.spike_conv_lif import fusion as fusion
