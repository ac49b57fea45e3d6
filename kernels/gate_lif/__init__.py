"""The kernel `gate_lif`; its README has the equations."""

from neurokit.kernels.gate_lif import entry as entry
from neurokit.kernels.gate_lif import fusion as fusion
