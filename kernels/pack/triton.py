"""Triton kernels of `pack` and `unpack`."""

import triton
import triton.language as tl

from neurokit.kernels._compat import writes
from neurokit.kernels.common.triton import as_spikes


@writes("out")
@triton.jit
def pack_kernel(x, out, total, words, size, ALIGNED: tl.constexpr, BLOCK: tl.constexpr):
    """One word a lane group: 32 neighbouring values along the last axis."""
    word = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    lane = tl.arange(0, 32)
    if ALIGNED:
        at = word[:, None] * 32 + lane[None, :]
        mask = (word < total)[:, None] & (lane < 32)[None, :]
    else:
        col = (word % words)[:, None] * 32 + lane[None, :]
        at = (word // words)[:, None] * size + col
        mask = (word < total)[:, None] & (col < size)
    bits = (tl.load(x + at, mask=mask, other=0) != 0).to(tl.int32)
    tl.store(out + word, tl.sum(bits << lane[None, :], axis=1), mask=word < total)


@writes("out")
@triton.jit
def unpack_kernel(x, out, total, words, size, ALIGNED: tl.constexpr, BLOCK: tl.constexpr):
    word = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    lane = tl.arange(0, 32)
    packed = tl.load(x + word, mask=word < total, other=0)
    bits = ((packed[:, None] >> lane[None, :]) & 1) != 0
    if ALIGNED:
        at = word[:, None] * 32 + lane[None, :]
        mask = (word < total)[:, None] & (lane < 32)[None, :]
    else:
        col = (word % words)[:, None] * 32 + lane[None, :]
        at = (word // words)[:, None] * size + col
        mask = (word < total)[:, None] & (col < size)
    tl.store(out + at, as_spikes(bits, out.dtype.element_ty), mask=mask)
