"""The kernel `block_sparse_attention`; its README has the equations."""

from neurokit.kernels.block_sparse_attention import entry as entry
