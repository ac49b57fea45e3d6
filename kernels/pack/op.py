"""The operators `pack` and `unpack` and their public functions."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.dispatch import use_triton
from neurokit.kernels.pack import reference

NAME = "pack"
DEFAULT = {"block": 64, "num_warps": 4}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int32, torch.uint8)


def _pack_fake(x: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], (x.shape[-1] + 31) // 32), dtype=torch.int32)


def _pack(x: Tensor) -> Tensor:
    out = _pack_fake(x)
    if out.numel() == 0:
        return out
    if not use_triton(NAME, x):
        return out.copy_(reference.pack_words(x))
    from neurokit.kernels.pack.triton import pack_kernel

    chosen = config.lookup(NAME, (x.dtype.itemsize,), x.device, DEFAULT)
    launch(pack_kernel)[((out.numel() + chosen["block"] - 1) // chosen["block"],)](
        x.contiguous(),
        out,
        out.numel(),
        out.shape[-1],
        x.shape[-1],
        ALIGNED=x.shape[-1] % 32 == 0,
        BLOCK=chosen["block"],
        num_warps=chosen["num_warps"],
    )
    return out


def _unpack_fake(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return words.new_empty((*words.shape[:-1], size), dtype=dtype)


def _unpack(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    out = _unpack_fake(words, size, dtype)
    if out.numel() == 0:
        return out
    if not use_triton("unpack", words):
        return out.copy_(reference.unpack_words(words, size, dtype))
    from neurokit.kernels.pack.triton import unpack_kernel

    chosen = config.lookup("unpack", (out.dtype.itemsize,), words.device, DEFAULT)
    launch(unpack_kernel)[((words.numel() + chosen["block"] - 1) // chosen["block"],)](
        words.contiguous(),
        out,
        words.numel(),
        words.shape[-1],
        size,
        ALIGNED=size % 32 == 0,
        BLOCK=chosen["block"],
        num_warps=chosen["num_warps"],
    )
    return out


pack_op = register_op("pack", _pack_fake)(_pack)
unpack_op = register_op("unpack", _unpack_fake)(_unpack)


def pack(x: Tensor) -> Tensor:
    """Packs the last axis: 32 values (zero or not) an int32 word, lowest bit first, zero bits at the tail.

    Args:
        x: `[..., C]` float32, float16, bfloat16, bool, int8, uint8 or int32.

    Returns:
        `[..., ceil(C / 32)]` int32.

    Raises:
        InputError: If x has no axis or another dtype.
    """
    if x.dtype == torch.bool:
        x = x.view(torch.uint8)
    if x.dim() == 0 or x.dtype not in DTYPES:
        raise InputError(
            f"pack got {x.dtype} of shape {tuple(x.shape)}",
            expected="[..., C] of float32, float16, bfloat16, bool, int8, uint8 or int32",
        )
    return torch.ops.neurokit_kernels.pack(x)


def unpack(words: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Undoes `pack`.

    Args:
        words: `[..., ceil(size / 32)]` int32.
        size: Length of the unpacked last axis.
        dtype: Type of the zeros and ones: float32, float16, bfloat16, int8, uint8 or int32.

    Returns:
        `[..., size]`.

    Raises:
        InputError: If a shape or dtype does not fit.
    """
    if words.dim() == 0 or words.dtype != torch.int32 or words.shape[-1] != -(-size // 32) or dtype not in DTYPES:
        raise InputError(
            f"unpack got {words.dtype} of shape {tuple(words.shape)} for size {size} and {dtype}",
            expected="int32 [..., ceil(size / 32)]",
        )
    return torch.ops.neurokit_kernels.unpack(words, size, dtype)
