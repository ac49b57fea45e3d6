"""The kernel `pool_lif`; its README has the equations."""

from neurokit.kernels.pool_lif import entry as entry
from neurokit.kernels.pool_lif import fusion as fusion
