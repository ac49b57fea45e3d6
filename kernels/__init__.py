"""Fused kernels for spiking networks; the reference on a CPU."""
