"""HiP's search for each query alone, all queries at once: what a layer of a decoder and a graph need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neurokit.attention.by_position import keys_by_position
from neurokit.attention.choose import largest_mask
from neurokit.attention.pattern import Call

if TYPE_CHECKING:
    from neurokit.attention.patterns.hip import HiP


def search(hip: HiP, call: Call, rounds: int) -> Tensor:
    """Returns the blocks of each query, bool `[B, H, S, blocks]`, by the rounds of `HiP` with one query a block.

    A query sees no later key, so one pass, chunks and steps search alike. Rows that need fewer rounds keep what they
    have in the rest of them.

    Args:
        hip: The settings.
        call: The call; blocks begin with the first token of a row.
        rounds: Rounds that the longest text needs; a number of the graph, not of its inputs.
    """
    scores = block_scores(hip, call)
    last = scores.shape[3] - 1
    index = torch.arange(scores.shape[3], device=scores.device)
    kept = hip.count // hip.block_k
    held = (call.places() + 1 - hip.window).clamp_min(0)[:, None]  # [B or 1, 1, S]
    blocks = (held + hip.block_k - 1) // hip.block_k
    share = blocks.double() / kept
    edges = (share[..., None] * torch.arange(kept + 1, device=held.device)).floor().to(torch.int64)
    start = edges[..., :-1] + torch.zeros_like(scores[..., :1], dtype=torch.int64)  # [B, H, S, chunks]
    size = edges[..., 1:] - edges[..., :-1] + torch.zeros_like(start)
    for at in range(rounds):
        active = torch.logical_and(held > hip.count, share > 2.0**at)[..., None]
        half = size // 2
        starts = torch.stack([start, start + half], -1).flatten(-2)
        sizes = torch.stack([half, size - half], -1).flatten(-2)
        worth = scores.gather(-1, starts.clamp(max=last)).masked_fill(sizes == 0, -32000.0)
        chosen = largest_mask(worth, kept)
        order = torch.sort(torch.logical_not(chosen).to(torch.int32), dim=-1, stable=True).indices[..., :kept]
        start = torch.where(active, starts.gather(-1, order), start)
        size = torch.where(active, sizes.gather(-1, order), size)
    found = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, start.clamp(max=last), True)
    short = (held <= hip.count)[..., None]  # ONNX Runtime has no Where of truth values
    every = torch.logical_and(short, index < blocks[..., None])
    found = torch.logical_or(every, torch.logical_and(short.logical_not(), found))
    end = (held + hip.window + hip.block_k - 1) // hip.block_k
    near = torch.logical_and(index >= (held // hip.block_k)[..., None], index < end[..., None])
    return torch.logical_or(found, near)


def block_scores(hip: HiP, call: Call) -> Tensor:
    """Returns the largest product of each query with the keys of each block that it sees, `[B, H, S, blocks]`.

    It multiplies every key; a search on a GPU would look at two blocks a chunk and round.
    """
    keys, _ = keys_by_position(call, hip.block_k)
    batch, groups, width = keys.shape[0], keys.shape[1], keys.shape[3]
    rows = call.q.reshape(batch, groups, -1, width)
    products = (rows @ keys.transpose(-1, -2)).view(batch, call.q.shape[1], call.new, keys.shape[2])
    later = torch.arange(keys.shape[2], device=keys.device) > call.places()[:, None, :, None]
    seen = products.masked_fill(later, float("-inf"))
    return seen.view(batch, call.q.shape[1], call.new, -1, hip.block_k).amax(-1)
