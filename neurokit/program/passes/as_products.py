"""Writes plain convolutions of exact programs as products of windows, whose sums no library computes another way.

A GPU's library may compute a float32 convolution by transforms (Winograd, FFT) or with operands of 10 bits (TF32): the
sums of whole numbers are then no longer those numbers. A product in float32 is sums of products, in some order. A
depthwise convolution has no product worth the name: it is written as the sum of its taps.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn import functional

from neurokit.program.nodes import aten, pair
from neurokit.program.passes.base import Pass

_CONVOLUTIONS = {aten.conv1d.default, aten.conv2d.default}


def product_of_windows(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Tensor:
    """Returns the convolution of pictures as a product of their windows; its arguments are those of `conv2d`.

    Args:
        x: `[B, C, H, W]`, or `[B, C, L]` as for `conv1d`.
        weight: `[N, C / groups, k, k']`, or without the first `k`.
        bias: `[N]` or None.
        stride: Steps of the windows, down and across.
        padding: Zeros around the input.
        dilation: Distance of the taps.
        groups: Groups of channels.

    Returns:
        `[B, N, H', W']`; of one group channels-last in memory.
    """
    if x.dim() == 3:
        given = ((1, stride[0]), (0, padding[0]), (1, dilation[0]))
        return product_of_windows(x.unsqueeze(2), weight.unsqueeze(2), bias, *given, groups).squeeze(2)
    down, across, spread = (pair(one) for one in (stride, padding, dilation))
    kernel = weight.shape[2:]
    sizes = zip(x.shape[2:], kernel, down, across, spread, strict=True)
    height, width = ((size + 2 * pad - gap * (k - 1) - 1) // step + 1 for size, k, step, pad, gap in sizes)
    if groups == x.shape[1] == weight.shape[0]:
        padded = functional.pad(x, (across[1], across[1], across[0], across[0]))
        return _sum_of_taps(padded, weight[:, 0], bias, (height, width), down, spread)
    windows = functional.unfold(x, tuple(kernel), spread, across, down)  # [B, C k k', H' W']
    if groups == 1:
        y = torch.matmul(windows.transpose(1, 2), weight.flatten(1).t())
        y = (y if bias is None else y + bias).transpose(1, 2)
    else:
        apart = windows.unflatten(1, (groups, -1))
        y = torch.matmul(weight.flatten(1).unflatten(0, (groups, -1)), apart).flatten(1, 2)
        y = y if bias is None else y + bias[:, None]
    return y.unflatten(2, (height, width))


def _sum_of_taps(
    x: Tensor, weight: Tensor, bias: Tensor | None, size: tuple[int, int], stride: Sequence[int], spread: Sequence[int]
) -> Tensor:
    """Returns a depthwise convolution, its weight `[C, k, k']`, in operations that a compiler makes one loop of."""
    rows, columns = ((count - 1) * step + 1 for count, step in zip(size, stride, strict=True))
    found: Tensor | None = None
    for i, j in itertools.product(*map(range, weight.shape[1:])):
        top, left = i * spread[0], j * spread[1]
        seen = x[:, :, top : top + rows : stride[0], left : left + columns : stride[1]]
        part = seen * weight[:, i, j, None, None]
        found = part if found is None else found + part
    assert found is not None
    return found if bias is None else found + bias[:, None, None]


def _rewrite(module: GraphModule) -> None:
    for node in _plain(module):
        node.target = product_of_windows
    for layer in _layers(module):
        layer.product_of = product_of_windows


def _plain(module: GraphModule) -> list[Node]:
    """Returns the convolutions of pictures and sequences, their padding a number."""
    found = []
    for node in module.graph.nodes:
        padding = [*node.args, *[None] * 5][4]
        if node.op == "call_function" and node.target in _CONVOLUTIONS and not isinstance(padding, str):
            found.append(node)
    return found


def _layers(module: GraphModule) -> list[Any]:
    """Returns the layers in kernels beside which a probing twin computes a convolution."""
    return [one for one in module.modules() if getattr(one, "product_of", None) in _CONVOLUTIONS]


def _left(module: GraphModule) -> list[str]:
    beside = [f"{type(layer).__name__} computes a convolution beside its kernel" for layer in _layers(module)]
    return [f"{node.name} is a convolution" for node in _plain(module)] + beside


AS_PRODUCTS = Pass("write plain convolutions as products of windows", _rewrite, after=_left)
