"""Fused kernels for spiking networks; the reference on a CPU."""

from neurokit.kernels.lif.op import lif
from neurokit.kernels.pack.op import pack, unpack
from neurokit.kernels.spike_linear_lif.op import spike_linear_lif

__all__ = ["lif", "pack", "spike_linear_lif", "unpack"]
