"""Grids of tokens made finer, as in the decoders of Swin-Unet and its relatives."""

from __future__ import annotations

from torch import Tensor, nn


class PatchExpand(nn.Module):
    """A finer grid from wider tokens: a linear layer whose outputs are laid out over places."""

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        outputs = width // 2 if factor == 2 else width
        self.expand = nn.Linear(width, factor * factor * outputs, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, H, W, width]`, returns `[B, factor H, factor W, outputs]`."""
        parts = self.expand(x).unflatten(3, (self.factor, self.factor, -1))
        return self.norm(parts.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2))
