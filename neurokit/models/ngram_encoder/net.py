"""The network: rows of a table, their mean, and the mean made a vector of length 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NgramEncoder(nn.Module):
    """e = m / |m|, m the mean of the vectors of a sentence's n-grams.

    Args:
        buckets: Rows of the table, which n-grams are hashed into.
        width: Numbers of a vector.
    """

    def __init__(self, buckets: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, width)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        """Returns "embedding" `[B, width]` of sentences `[B, L]`; -1 is padding, a sentence of it alone gives 0."""
        real = (ids >= 0).to(self.table.weight.dtype)[..., None]
        mean = (self.table(ids.clamp_min(0)) * real).sum(1) / real.sum(1).clamp_min(1.0)
        return {"embedding": mean * torch.rsqrt((mean * mean).sum(-1, keepdim=True) + 1e-12)}
