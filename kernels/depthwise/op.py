"""The operator `depthwise` and its public function."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels import config
from neurokit.kernels._compat import launch, register_op
from neurokit.kernels.depthwise import reference
from neurokit.kernels.dispatch import use_triton

NAME = "depthwise"
DEFAULT = {"tall": 7, "wide": 4, "cols": 64, "num_warps": 4}
# A large kernel wants many rows a program: each input row is then read once for more output rows.
DEFAULT_LARGE = {"tall": 14, "wide": 4, "cols": 32, "num_warps": 4}


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    shrink = 2 * padding - weight.shape[0] + 1
    return weight.new_empty((x.shape[0], x.shape[1] + shrink, x.shape[2] + shrink, x.shape[3]))


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    out = _fake(x, weight, bias, padding)
    if out.numel() == 0:
        return out
    if not use_triton(NAME, x):
        return out.copy_(reference.forward(x, weight, bias, padding, weight.dtype))
    from neurokit.kernels.depthwise.triton import depthwise_kernel

    if x.stride(3) != 1 or x.stride(1) != x.shape[2] * x.stride(2) or x.stride(0) != x.shape[1] * x.stride(1):
        x = x.contiguous()
    batch, out_height, out_width, channels = out.shape
    kernel = weight.shape[0]
    chosen = config.lookup(
        NAME, (kernel, x.shape[1], channels, x.dtype.itemsize), x.device, DEFAULT_LARGE if kernel > 5 else DEFAULT
    )
    tall, wide, block = chosen["tall"], chosen["wide"], chosen["cols"]
    tiles = ((out_height + tall - 1) // tall) * ((out_width + wide - 1) // wide)
    launch(depthwise_kernel)[(tiles, (channels + block - 1) // block, batch)](
        x, weight.contiguous(), weight if bias is None else bias, out, out_height, out_width, channels,
        HEIGHT=x.shape[1], WIDTH=x.shape[2], STRIDE=x.stride(2), KERNEL=kernel, PAD=padding, BIAS=bias is not None, TALL=tall,
        WIDE=wide, COLS=block, num_warps=chosen["num_warps"],
    )  # fmt: skip
    return out


depthwise_op = register_op(NAME, _fake)(_forward)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 0) -> Tensor:
    """Depthwise convolution of stride 1 on channels-last data, accumulated in float32. Inference only.

    Args:
        x: `[B, H, W, C]` int8 (spikes), or in the weight's dtype; a slice of a wider tensor's channels will do.
        weight: `[k, k, C]` float32, float16 or bfloat16.
        bias: `[C]` float32.
        padding: Zeros around the input.

    Returns:
        `[B, H + 2 padding - k + 1, W + 2 padding - k + 1, C]` in the weight's dtype.

    Raises:
        InputError: If a shape or dtype does not fit.
    """
    if weight.dim() != 3 or weight.shape[0] != weight.shape[1] or padding < 0:
        raise InputError(f"weight has shape {tuple(weight.shape)}, padding is {padding}",
                         expected="[k, k, C], padding >= 0")  # fmt: skip
    if weight.dtype not in (torch.float32, torch.float16, torch.bfloat16) or x.dtype not in (torch.int8, weight.dtype):
        raise InputError(f"x is {x.dtype}, weight is {weight.dtype}",
                         expected="a float weight, and x int8 or the same")  # fmt: skip
    if x.dim() != 4 or x.shape[3] != weight.shape[2] or min(x.shape[1:3]) + 2 * padding < weight.shape[0]:
        raise InputError(f"x has shape {tuple(x.shape)}",
                         expected=f"[B, H, W, {weight.shape[2]}], with padding at least as large as the kernel")  # fmt: skip
    if bias is not None and (bias.shape != weight.shape[2:] or bias.dtype != torch.float32):
        raise InputError(f"bias is {bias.dtype} {tuple(bias.shape)}", expected=f"float32 {tuple(weight.shape[2:])}")
    return torch.ops.neurokit_kernels.depthwise(x, weight, bias, padding)
