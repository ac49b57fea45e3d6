"""Keys and blocks by the position of a row's tokens, where rows of a batch begin with padding of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.attention.pattern import Call


def keys_by_position(call: Call, block: int) -> tuple[Tensor, Tensor]:
    """Returns the keys in the order of their positions, filled up to whole blocks.

    Returns:
        Keys `[B, Hk, blocks * block, D]`, and which exist, bool `[B or 1, blocks * block]`; others are of no meaning.
    """
    batch, groups, length, width = call.k.shape
    count = (length + block - 1) // block
    position = torch.arange(count * block, device=call.k.device)[None]
    entry = position if call.first is None else position + call.first[:, None]
    row = torch.arange(batch * groups, device=call.k.device).view(batch, groups, 1) * length
    flat = (entry.clamp(max=length - 1)[:, None] + row).flatten()
    keys = call.k.reshape(batch * groups * length, width)[flat].view(batch, groups, count * block, width)
    return keys, entry < length


def pairs_of(blocks: Tensor, call: Call, block: int) -> Tensor:
    """Returns the pairs of a table of blocks by position `[B, heads, S, blocks]`, by entry: bool `[B, heads, S, T]`.

    What a query does not see is out.
    """
    if call.first is None:
        wide = blocks.repeat_interleave(block, -1)[..., : call.length]
        return torch.logical_and(wide, call.seen())
    batch, heads, new, count = blocks.shape
    place = (torch.arange(call.length, device=blocks.device) - call.first[:, None]).clamp_min(0) // block
    rows = (place + torch.arange(batch, device=blocks.device)[:, None] * count).flatten()
    # Rows of a table are picked, not elements: an index of elements would be as large as the mask.
    picked = blocks.permute(0, 3, 1, 2).reshape(batch * count, heads * new)[rows]
    wide = picked.view(batch, call.length, heads, new).permute(0, 2, 3, 1)
    return torch.logical_and(wide, call.seen())
