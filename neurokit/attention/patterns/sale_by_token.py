"""SALE for each query alone, with frozen means: what a layer of a decoder and a graph need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neurokit.attention.by_position import keys_by_position
from neurokit.attention.pattern import Call

if TYPE_CHECKING:
    from neurokit.attention.patterns.sale import SALE

LEVELS, TILE, SHARED = 7, 32, 2  # 4-bit codes; keys whose (j mod 8) // 2 is equal share a scale in tiles of 32


def table(sale: SALE, call: Call) -> tuple[Tensor, Tensor]:
    """Returns the blocks of each query, bool `[B, H, S, blocks]`, and how many more each asked for, int64 `[B, H, S]`.

    As `SALE` with one query a block: a query has a scale of its own, and the means are those that the layer keeps. A
    tile of keys is complete before the first query that estimates it, so one pass, chunks and steps select alike.
    """
    keys, exists = keys_by_position(call, math.lcm(TILE, sale.block_k))
    q_mean, k_mean = _centre(sale, call)
    centred = (keys - k_mean) * exists[:, None, :, None].to(keys.dtype)
    place = call.places()[:, None, :, None]  # [B or 1, 1, S, 1]
    position = torch.arange(keys.shape[2], device=keys.device)
    exact, scored = _geometry(sale, place, keys.shape[2] // sale.block_k)
    seen = position <= place
    near = torch.logical_and(exact.repeat_interleave(sale.block_k, -1), seen)
    products = _products(call.q, centred) * call.factor
    lse = products.masked_fill(torch.logical_not(near), float("-inf")).logsumexp(-1, keepdim=True)
    ratio = (_estimate(call.q, q_mean, centred) * call.factor - lse).masked_fill(torch.logical_not(seen), float("-inf"))
    largest = ratio.view(*ratio.shape[:3], -1, sale.block_k).amax(-1).exp()
    tau = torch.tensor(sale.thresholds, dtype=call.q.dtype, device=call.q.device).view(1, -1, 1, 1)
    passed = torch.logical_and(scored, torch.logical_or(largest > tau, tau < sale.dense_below))
    count = (call.length + sale.block_k - 1) // sale.block_k
    return _capped(sale, exact[..., :count], passed[..., :count])


def _capped(sale: SALE, exact: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Keeps what is exact and, of what passed, the lowest blocks that the cap leaves room for."""
    if not sale.cap:
        return torch.logical_or(exact, passed), passed.new_zeros(passed.shape[:3], dtype=torch.int64)
    asked = passed.to(torch.int64)
    room = sale.cap - exact.to(torch.int64).sum(-1, keepdim=True)
    fits = torch.logical_and(passed, asked.cumsum(-1) <= room)
    more = (asked.sum(-1) - room[..., 0]).clamp_min(0)
    return torch.logical_or(exact, fits), more


def _centre(sale: SALE, call: Call) -> tuple[Tensor, Tensor]:
    """Returns the frozen means of queries `[1, H, 1, D]` and keys `[1, Hk, 1, D]`."""
    heads, groups, width = call.q.shape[1], call.k.shape[1], call.q.shape[3]
    centre = call.q.new_zeros(heads + groups, width) if sale.centre is None else sale.centre.to(call.q.dtype)
    return centre[None, :heads, None], centre[None, heads:, None]


def _geometry(sale: SALE, place: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
    """Returns the blocks that are exact (sink, window, diagonal) and those estimated, bool `[B or 1, 1, S, blocks]`."""
    index = torch.arange(blocks, device=place.device)
    total = place // sale.block_k + 1
    segment = sale.segment // sale.block_k
    estimated = (total - 1 - sale.window // sale.block_k).clamp_min(0) // segment * segment
    scored = torch.logical_and(index >= 1, index < 1 + estimated)
    return torch.logical_and(index < total, torch.logical_not(scored)), scored


def _products(q: Tensor, keys: Tensor) -> Tensor:
    """Returns the products of queries `[B, H, S, D]` and keys `[B, Hk, L, D]`, `[B, H, S, L]`."""
    batch, heads, new, width = q.shape
    rows = q.reshape(batch, keys.shape[1], -1, width)
    return (rows @ keys.transpose(-1, -2)).view(batch, heads, new, keys.shape[2])


def _estimate(q: Tensor, q_mean: Tensor, keys: Tensor) -> Tensor:
    """Returns the products that 4-bit codes estimate, `[B, H, S, L]`; their scale included."""
    batch, groups, length = keys.shape[:3]
    heads = q.shape[1]
    share = heads // groups
    mean = _products(q_mean.expand(batch, -1, -1, -1), keys)
    q_scale = _whole_scale((q - q_mean).abs().amax(-1))
    q_code = ((q - q_mean) / q_scale[..., None]).round().clamp(-LEVELS, LEVELS)
    largest = keys.abs().amax(-1).view(batch, groups, -1, TILE // (4 * SHARED), 4, SHARED)
    k_scale = _whole_scale(largest.amax((3, 5), keepdim=True).expand(-1, -1, -1, TILE // (4 * SHARED), -1, SHARED))
    k_scale = k_scale.reshape(batch, groups, length)
    k_code = (keys / k_scale[..., None]).round().clamp(-LEVELS, LEVELS)
    step = q_scale[..., None] * k_scale.repeat_interleave(share, 1)[:, :, None]
    return step * (_products(q_code, k_code) + (mean / step).round())


def _whole_scale(largest: Tensor) -> Tensor:
    """Returns the size of a step of the codes; 1 where there is nothing to code."""
    return torch.where(largest > 0, largest / LEVELS, torch.ones_like(largest))
