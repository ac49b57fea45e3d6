"""The kernel `lif`; its README has the equations."""

from neurokit.kernels.lif import ahead as ahead
from neurokit.kernels.lif import entry as entry
from neurokit.kernels.lif import fusion as fusion
