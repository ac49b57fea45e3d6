"""What attention over a set of keys is: the definition that graphs and kernels are held against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurokit.errors import InputError


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Tensor | None = None,
    key_bias: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attends from every query to the keys that it sees.

    o_i = sum_j p_ij v_j with p_ij = exp(s_ij) / sum_j exp(s_ij) over the visible j, and
    s_ij = scale q_i . k_j + bias_j. A query that sees nothing gives o = 0 and a log-sum-exp of minus infinity.

    Args:
        q: Queries `[B, H, S, D]`.
        k: Keys `[B, Hk, T, D]`; query head h reads head h // (H / Hk).
        v: Values `[B, Hk, T, Dv]`.
        visible: Which keys a query sees, bool, `[B or 1, heads, S, T]` with 1, Hk or H heads; None for all.
        key_bias: What is added to scores, `[B, Hk, T]` or `[B, Hk, S, T]`.
        scale: Factor of the products; default is D^-0.5.

    Returns:
        Outputs `[B, H, S, Dv]` of the queries' type and the log-sum-exp `[B, H, S]` in the type of the computation:
        float32 for half precision, else the type of the queries.

    Raises:
        InputError: If shapes do not fit.
    """
    check_shapes(q, k, v)
    kind = torch.float32 if q.dtype in (torch.float16, torch.bfloat16) else q.dtype
    batch, heads, new, width = q.shape
    groups, length = k.shape[1], k.shape[2]
    # The queries of a group are rows of one product: keys and values are never repeated.
    rows = q.to(kind).reshape(batch, groups, heads // groups * new, width)
    scores = (rows @ k.to(kind).transpose(-1, -2)) * (width**-0.5 if scale is None else scale)
    scores = scores.view(batch, groups, heads // groups, new, length)
    if key_bias is not None:
        bias = key_bias.to(kind)
        scores = scores + (bias[:, :, None, None] if bias.dim() == 3 else bias[:, :, None])
    if visible is not None:
        scores = scores.masked_fill(~by_group(visible, groups, heads), float("-inf"))
    top = scores.amax(-1, keepdim=True) if length else scores.new_zeros(*scores.shape[:-1], 1)
    top = top.masked_fill(top == float("-inf"), 0.0)
    weights = (scores - top).exp()
    total = weights.sum(-1, keepdim=True)
    lse = (total.log() + top)[..., 0].reshape(batch, heads, new)
    weights = weights / total.masked_fill(total == 0, 1.0)
    out = weights.view(batch, groups, heads // groups * new, length) @ v.to(kind)
    return out.view(batch, heads, new, v.shape[-1]).to(q.dtype), lse


def merge(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Joins attention over disjoint sets of keys: the result is attention over their union.

    Args:
        parts: Outputs `[B, H, S, Dv]` and log-sum-exps `[B, H, S]` of each set.

    Returns:
        Output and log-sum-exp of the union.
    """
    lses = torch.stack([lse for _, lse in parts])
    total = lses.logsumexp(0)
    shares = (lses - total.masked_fill(total == float("-inf"), 0.0)).exp()
    out = sum(share[..., None] * o.to(share.dtype) for share, (o, _) in zip(shares, parts, strict=True))
    assert isinstance(out, Tensor)
    return out.to(parts[0][0].dtype), total


def by_group(mask: Tensor, groups: int, heads: int) -> Tensor:
    """Returns a mask `[B, 1 or Hk or H, S, T]` as `[B, 1 or Hk, 1 or H / Hk, S, T]`."""
    if mask.shape[1] in (1, groups):
        return mask[:, :, None]
    if mask.shape[1] != heads:
        raise InputError(f"a mask has {mask.shape[1]} heads", expected=f"1, {groups} or {heads}")
    return mask.reshape(mask.shape[0], groups, heads // groups, *mask.shape[2:])


def causal_mask(new: int, length: int, device: torch.device | None = None) -> Tensor:
    """Returns which keys the last `new` of `length` positions see, bool `[new, length]`."""
    place = torch.arange(new, device=device) + (length - new)
    return torch.arange(length, device=device) <= place[:, None]


def check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuses queries, keys and values that do not fit each other.

    Raises:
        InputError: Says which shape is wrong.
    """
    if q.dim() != 4 or k.dim() != 4 or v.dim() != 4:
        raise InputError(f"q, k, v have {q.dim()}, {k.dim()}, {v.dim()} axes", expected="[B, heads, tokens, D] each")
    if k.shape[:3] != v.shape[:3] or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise InputError(
            f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)} do not fit",
            expected="[B, H, S, D], [B, Hk, T, D], [B, Hk, T, Dv]",
        )
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise InputError(f"{q.shape[1]} query heads, {k.shape[1]} key heads", expected="a multiple")
