"""Rotary position embedding: frequencies, plain and scaled as in Llama 3.1, and the half-split rotation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurokit.models.decoder.config import DecoderConfig, LinearScaling, RopeScaling


def frequencies(config: DecoderConfig) -> Tensor:
    """Returns the angle a position turns each pair by, `[D / 2]`, in radians, float32.

    f_i = theta^(-2i / D) (Su et al., RoFormer, 2021); scaled where the model says so.
    """
    f = config.theta ** (-torch.arange(0, config.head_size, 2, dtype=torch.float64) / config.head_size)
    if isinstance(config.scaling, LinearScaling):
        return (f / config.scaling.factor).float()
    return (f if config.scaling is None else scaled(f, config.scaling)).float()


def scaled(f: Tensor, scaling: RopeScaling) -> Tensor:
    """Scales frequencies as Llama 3.1 does.

    With n = original f / 2 pi, the turns of a frequency over the original length, and
    s = clip((n - low) / (high - low), 0, 1), the frequency becomes s f + (1 - s) f / factor.
    """
    turns = scaling.original * f / (2 * math.pi)
    share = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0.0, 1.0)
    return share * f + (1 - share) * f / scaling.factor


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (i, i + D/2) of every head.

    Args:
        x: Queries or keys `[B, heads, S, D]`.
        cos: Cosines `[B, 1, S, D / 2]`.
        sin: Sines of the same shape.
    """
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
