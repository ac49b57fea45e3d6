"""The parts of a layer that are the same for every token: norms and the gated MLP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.decoder.config import DecoderConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich, 2019); the weight may be left out."""

    def __init__(self, width: int, eps: float, weight: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if weight else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised x, of the same shape."""
        x = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps)
        return x if self.weight is None else x * self.weight


class MLP(nn.Module):
    """The gated MLP, down(silu(gate(x)) * up(x)) (Shazeer, GLU Variants, 2020); without silu that of TransNormerLLM."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.inner, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.width, config.inner, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.inner, config.width, bias=config.mlp_bias)
        self.gate = config.gate

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, S, width]`."""
        gate = self.gate_proj(x)
        return self.down_proj((F.silu(gate) if self.gate == "silu" else gate) * self.up_proj(x))
