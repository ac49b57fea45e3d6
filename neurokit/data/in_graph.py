"""A model that takes bytes: scaling and normalising of pixels computed by its own module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PixelModel(nn.Module):
    """Scales and normalises `[..., C, H, W]` of bytes, then runs a model.

    Args:
        model: Takes float32.
        scale: Whether bytes become 0 to 1.
        norms: Mean and deviation a channel, or one each; applied in order.
    """

    def __init__(self, model: nn.Module, scale: bool, norms: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
        super().__init__()
        self.model, self.scale = model, scale
        for at, (mean, std) in enumerate(norms):
            self.register_buffer(f"mean{at}", torch.tensor(mean).reshape(-1, 1, 1))
            self.register_buffer(f"std{at}", torch.tensor(std).reshape(-1, 1, 1))
        self.count = len(norms)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the model says of pixels."""
        x = x.to(torch.float32)
        if self.scale:
            x = x / 255.0
        for at in range(self.count):
            x = (x - getattr(self, f"mean{at}")) / getattr(self, f"std{at}")
        return self.model(x)
