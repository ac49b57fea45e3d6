"""The definition of `sparse_decode`: attention of one query to a set of keys, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.definition import attend


def positions(idx: Tensor, num: Tensor, block: int, length: int) -> tuple[Tensor, Tensor]:
    """Returns the keys of every slot, `[B, Hk, n block]`, and which of them count."""
    key = (idx.long()[..., None] * block + torch.arange(block, device=idx.device)).flatten(2)
    listed = torch.arange(idx.shape[2], device=idx.device) < num[..., None]
    live = listed[..., None].expand(-1, -1, -1, block).flatten(2) & (key < length)
    return torch.where(live, key, 0), live


def forward(
    q: Tensor, k: Tensor, v: Tensor, idx: Tensor, num: Tensor, key_bias: Tensor | None, scale: float, block: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns output `[B, H, Dv]`, log-sum-exp `[B, H]` and scores `[B, H, n block]`, minus infinity unlisted."""
    key, live = positions(idx, num, block, k.shape[2])
    if idx.shape[1] > k.shape[1]:  # a list a query head
        k, v = (x.repeat_interleave(idx.shape[1] // x.shape[1], 1) for x in (k, v))
    if key_bias is not None:
        key_bias = key_bias.repeat_interleave(idx.shape[1] // key_bias.shape[1], 1)
    near, values = (x.gather(2, key[..., None].expand(-1, -1, -1, x.shape[3])) for x in (k, v))
    bias = None if key_bias is None else key_bias.gather(2, key)
    out, lse = attend(q[:, :, None], near, values, live[:, :, None], bias, scale)
    rows = q.unflatten(1, (k.shape[1], -1)).to(lse.dtype)
    scores = rows @ near.to(lse.dtype).transpose(-1, -2) * scale
    scores = scores if bias is None else scores + bias[:, :, None].to(lse.dtype)
    return out[:, :, 0], lse[:, :, 0], scores.masked_fill(~live[:, :, None], float("-inf")).flatten(1, 2)
