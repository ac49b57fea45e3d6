"""Example calls of `rescale_keys`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurokit.attention.definition import attend, causal_mask
from neurokit.attention.rescale import Ratio
from neurokit.kernels.contract import Example, normal

GAMMA, ACT = Ratio(4.0), Ratio(0.4, -0.4, 1.0, -0.4)


def arguments(
    batch: int, heads: int, groups: int, new: int, length: int, width: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Returns output and log-sum-exps of attention, and what it was computed from; the same on every device."""
    # Tensors of one shape are drawn alike: of a batch more the last is taken, as queries must not be the keys.
    q = normal(batch + 1, heads, new, width, device=device)[1:].to(dtype)
    k = normal(batch, groups, length, width, device=device).to(dtype)
    v = normal(batch, groups, length, width + 4, device=device).to(dtype)
    out, lse = attend(*(x.double() for x in (q, k, v)), causal_mask(new, length, device)[None, None])
    return out.to(dtype), lse.float(), q, k, v


def examples(device: torch.device, dtype: torch.dtype) -> Iterator[Example]:
    """Yields one key and several, grouped heads, odd lengths and widths, a chunk, strides, and an empty call."""
    if dtype == torch.bfloat16 and device.type == "cpu":  # the interpreter's products of bfloat16 are no GPU's
        return
    for label, sizes, keys, ratio in (
        ("first key", (1, 2, 2, 70, 70, 16), [0], GAMMA),
        ("sinks, grouped, odd, chunk", (2, 6, 2, 9, 41, 20), [3, 17, 34, 36], ACT),
        ("sharpened", (1, 2, 1, 20, 20, 16), [0, 2], Ratio(0.25)),
        ("many keys", (1, 2, 1, 30, 30, 16), list(range(0, 30, 2)), GAMMA),
    ):
        given = arguments(*sizes, device, dtype)
        yield Example(label, (*given, torch.tensor(keys, device=device), ratio), {})
    # Views of [B, S, H, D], as projections and fused kernels give them.
    flat = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in given]
    flat[1] = given[1]
    yield Example("tokens first in memory", (*flat, torch.tensor([1, 5], device=device), ACT), {"scale": 0.25})
    out, lse, q, k, v = arguments(1, 2, 2, 20, 20, 16, device, dtype)
    q = (k * 3).contiguous()
    out, lse = attend(*(x.double() for x in (q, k, v)), causal_mask(20, 20, device)[None, None])
    sinks = torch.tensor([3, 9], device=device)
    yield Example("rows of sinks alone", (out.to(dtype), lse.float(), q, k, v, sinks, ACT), {})
    if device.type != "cpu":
        long = arguments(1, 8, 8, 1024, 1024, 128, device, dtype)
        yield Example("long", (*long, torch.tensor([7, 15, 101, 640], device=device), ACT), {})
    out, lse, q, k, v = arguments(1, 2, 1, 20, 20, 16, device, dtype)
    first = torch.tensor([0], device=device)
    yield Example("empty", (out[:, :, :0], lse[:, :, :0], q[:, :, :0], k, v, first, GAMMA), {})


def op_examples(device: torch.device) -> Iterator[tuple[Any, ...]]:
    """Yields argument tuples of the operator."""
    given = arguments(1, 2, 1, 12, 12, 16, device, torch.float32)
    yield (*given, torch.tensor([0, 3], device=device), 0.25, 0.4, -0.4, 1.0, -0.4)
