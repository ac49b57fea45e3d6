"""Linear attention with a decay by head and a gate (TransNormerLLM)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.models.decoder.mixing import FLOAT, LayerMixer, register_layer_mixer
from neurokit.spec import StateSpec, TokenWork

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.decoder.config import DecoderConfig


def _state(config: DecoderConfig, layer: int) -> tuple[int, int, int]:
    # The position doubles the keys of every layer but the first.
    return config.heads, config.head_size * (2 if layer else 1), config.head_size


def _states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    return (StateSpec("kv", _state(config, layer), layout="HFF"),)


def _work(config: DecoderConfig, layer: int, before: int) -> TokenWork:
    """The state is decayed as k v^T is added to it, and multiplied by q: two multiply-adds an element."""
    size = math.prod(_state(config, layer))
    weighted = 5 * config.width * config.heads * config.head_size
    return TokenWork("", "lightning", 0, 2 * size, weighted, size * FLOAT, size * FLOAT)


def _build(config: DecoderConfig, layer: int) -> nn.Module:
    from neurokit.models.decoder.linear import LinearMixer

    return LinearMixer(config, layer)


LIGHTNING = register_layer_mixer(
    LayerMixer("lightning", "linear attention with a decay by head, a norm and a gate", _states, _build, _work)
)
