"""The kernel `depthwise`; its README has the equations."""

from neurokit.kernels.depthwise import entry as entry
from neurokit.kernels.depthwise import fusion as fusion
