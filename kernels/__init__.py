"""Fused kernels for spiking networks; the reference on a CPU."""

from neurokit.kernels.lif.op import lif

__all__ = ["lif"]
