"""Selection of the largest scores, where equal scores give way to the lower index on every machine."""

from __future__ import annotations

import torch
from torch import Tensor


def largest(scores: Tensor, count: int) -> Tensor:
    """Returns the indices of the `count` largest scores of the last axis, largest first, ties by the lower index.

    `torch.topk` promises no order of equal scores; a stable sort does, and becomes ONNX's TopK, which takes the lower
    index first.

    Args:
        scores: `[..., N]`.
        count: At most N are returned.
    """
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    return order[..., : min(count, scores.shape[-1])]


def largest_mask(scores: Tensor, count: int) -> Tensor:
    """Returns which scores are among the `count` largest of the last axis; those of minus infinity never are."""
    chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, largest(scores, count), True)
    return chosen & (scores > float("-inf"))


def prefix_largest_mask(scores: Tensor, count: int, new: int) -> Tensor:
    """Returns, for each of the last `new` prefixes of the scores, which are among the `count` largest of the prefix.

    Key j is kept for query t if fewer than `count` of the keys up to t are larger, or equal with a lower index: no
    sort a row, and no accident of how equal scores are ordered.

    Args:
        scores: One score a key `[..., T]`.
        count: Keys kept a query.
        new: Number of queries S, at the last S positions.

    Returns:
        Bool `[..., S, T]`, false for keys after the query.
    """
    length = scores.shape[-1]
    index = torch.arange(length, device=scores.device)
    larger = scores[..., :, None] > scores[..., None, :]
    equal = (scores[..., :, None] == scores[..., None, :]) & (index[:, None] < index)
    beaten = (larger | equal).to(torch.int32)  # [..., i, j]: key i goes before key j
    past = beaten.cumsum(-2)[..., length - new :, :]
    seen = index <= (index[length - new :, None])
    return (past < count) & seen
