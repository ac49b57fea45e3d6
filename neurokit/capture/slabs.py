"""3-D convolutions in float64, a slab of the output at a time.

oneDNN has no float64, and what PyTorch computes there in its place lays all patches of all samples side by side before
it multiplies: a convolution of 96 channels by 3 x 3 x 3 over 96 voxels a side would take 17 GiB a sample. A slab is the
same sums in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST = 2**28  # bytes of patches side by side


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    most: int = _MOST,
) -> Tensor:
    """Computes `torch.conv3d` in little memory.

    Args:
        x: `[B, C, D, H, W]`, or without a batch, which is computed whole.
        weight: `[C', C / groups, k, k, k]`.
        bias: `[C']`.
        stride: Of one axis or all three.
        padding: Likewise; one that is named is computed whole.
        dilation: Likewise.
        groups: Of channels.
        most: Bytes of patches side by side; a slab is one plane of the output at least.

    Returns:
        `[B, C', D', H', W']`.
    """
    if x.dim() != 5 or isinstance(padding, str):
        return torch.conv3d(x, weight, bias, stride, padding, dilation, groups)
    (step, *steps), (pad, *pads), (apart, *aparts) = (_three(value) for value in (stride, padding, dilation))
    reach = apart * (weight.shape[2] - 1) + 1
    planes = (x.shape[2] + 2 * pad - reach) // step + 1
    flat = zip(x.shape[3:], weight.shape[3:], steps, pads, aparts, strict=True)
    places = math.prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in flat)
    plane = x.element_size() * x.shape[1] * math.prod(weight.shape[2:]) * places
    if x.shape[0] * plane * planes <= most:
        return torch.conv3d(x, weight, bias, stride, padding, dilation, groups)
    height = max(1, most // plane)
    made = []
    for sample in x.split(1):
        slabs = []
        for first in range(0, planes, height):
            low = first * step - pad
            high = (min(first + height, planes) - 1) * step - pad + reach
            slab = _planes(sample, low, high)
            slabs.append(torch.conv3d(slab, weight, bias, (step, *steps), (0, *pads), (apart, *aparts), groups))
        made.append(torch.cat(slabs, 2))
    return torch.cat(made)


def _planes(x: Tensor, low: int, high: int) -> Tensor:
    """Returns planes from low to high of `[1, C, D, H, W]`, zeros where there are none."""
    inside = x[:, :, max(low, 0) : max(high, 0)]
    before = min(max(-low, 0), high - low)
    return F.pad(inside, (0, 0, 0, 0, before, high - low - before - inside.shape[2]))


def in_slabs(graph: torch.fx.Graph) -> None:
    """Lets every 3-D convolution of a program's graph be computed so."""
    for node in graph.nodes:
        if node.target is torch.ops.aten.conv3d.default:
            node.target = conv3d


def _three(value: Any) -> tuple[int, int, int]:
    one, two, three = (value,) * 3 if isinstance(value, int) else tuple(value) * (3 if len(value) == 1 else 1)
    return one, two, three
