"""Fused kernels for spiking networks and sparse attention; the reference on a CPU."""

from neurokit.kernels.block_sparse_attention.op import block_sparse_attention
from neurokit.kernels.depthwise.op import depthwise
from neurokit.kernels.estimate_blocks.op import estimate_blocks
from neurokit.kernels.gate_lif.op import gate_lif
from neurokit.kernels.lif.op import lif
from neurokit.kernels.pack.op import pack, unpack
from neurokit.kernels.patch import patch, unpatch
from neurokit.kernels.pool_lif.op import pool_lif
from neurokit.kernels.rescale_keys.op import rescale_keys
from neurokit.kernels.sdsa_lif.op import sdsa_lif
from neurokit.kernels.search_blocks.op import search_blocks
from neurokit.kernels.select_blocks.op import select_blocks
from neurokit.kernels.sparse_decode.op import sparse_decode
from neurokit.kernels.spike_conv_lif.op import spike_conv_lif
from neurokit.kernels.spike_gemv_lif.op import spike_gemv_lif
from neurokit.kernels.spike_linear_lif.op import spike_linear_lif
from neurokit.kernels.spike_stats.op import spike_stats

__all__ = [
    "block_sparse_attention",
    "depthwise",
    "estimate_blocks",
    "gate_lif",
    "lif",
    "pack",
    "patch",
    "pool_lif",
    "rescale_keys",
    "sdsa_lif",
    "search_blocks",
    "select_blocks",
    "sparse_decode",
    "spike_conv_lif",
    "spike_gemv_lif",
    "spike_linear_lif",
    "spike_stats",
    "unpack",
    "unpatch",
]
