"""Causal softmax attention over all tokens, with grouped heads (Llama, Qwen2, Qwen3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.models.decoder.mixing import LayerMixer, cache, register_layer_mixer
from neurokit.spec import StateSpec

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.decoder.config import DecoderConfig


def _states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    return cache("k", config, entries), cache("v", config, entries)


def _build(config: DecoderConfig, layer: int) -> nn.Module:
    from neurokit.models.decoder.attention import Attention

    return Attention(config)


DENSE = register_layer_mixer(LayerMixer("dense", "softmax attention over all tokens", _states, _build))
