"""The definition of `rescale_keys`, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.rescale import Ratio, rescaled


def forward(
    out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, keys: Tensor, scale: float, ratio: Ratio
) -> Tensor:
    """Returns the output with the weights of `keys` multiplied; queries are the last of the text."""
    group, kind = q.shape[1] // k.shape[1], lse.dtype
    few, values = (x.index_select(2, keys).repeat_interleave(group, 1).to(kind) for x in (k, v))
    place = k.shape[2] - q.shape[2] + torch.arange(q.shape[2], device=q.device)
    seen = keys <= place[:, None]
    return rescaled(out.to(kind), lse, q.to(kind), few, values, seen, ratio, scale).to(out.dtype)
