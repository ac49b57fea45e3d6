"""Causal softmax attention over all tokens, with grouped heads (Llama, Qwen2, Qwen3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.models.decoder.mixing import FLOAT, LayerMixer, cache, projections, register_layer_mixer
from neurokit.spec import StateSpec, TokenWork

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.decoder.config import DecoderConfig


def _states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    kept = cache("k", config, entries), cache("v", config, entries)
    if not config.calibrations:
        return kept
    from neurokit.models.decoder.calibrated import layer_memories

    return (*kept, *layer_memories(config, layer, entries))


def _build(config: DecoderConfig, layer: int) -> nn.Module:
    from neurokit.models.decoder.attention import Attention

    if any(method.touches(layer) for method in config.calibrations):
        from neurokit.models.decoder.calibrated import CalibratedAttention

        return CalibratedAttention(config, layer)
    return Attention(config)


def _work(config: DecoderConfig, layer: int, before: int) -> TokenWork:
    pairs, entry = config.heads * (before + 1), 2 * config.kv_heads * config.head_size * FLOAT
    return TokenWork("", "dense", pairs, 2 * config.head_size * pairs, projections(config), before * entry, entry)


DENSE = register_layer_mixer(LayerMixer("dense", "softmax attention over all tokens", _states, _build, _work))
