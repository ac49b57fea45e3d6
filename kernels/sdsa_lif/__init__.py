"""The kernel `sdsa_lif`; its README has the equations."""

from neurokit.kernels.sdsa_lif import entry as entry
from neurokit.kernels.sdsa_lif import fusion as fusion
