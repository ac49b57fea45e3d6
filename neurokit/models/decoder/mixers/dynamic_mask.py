"""Dynamic mask attention: values decide which keys are kept, and bias them (Doge)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.models.decoder.mixing import FLOAT, LayerMixer, cache, projections, register_layer_mixer
from neurokit.spec import StateSpec, TokenWork

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.decoder.config import DecoderConfig


def _states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    return cache("k", config, entries), cache("v", config, entries), cache("bias", config, entries, 0)


def _build(config: DecoderConfig, layer: int) -> nn.Module:
    from neurokit.models.decoder.attention import DynamicMaskAttention

    return DynamicMaskAttention(config)


def _work(config: DecoderConfig, layer: int, before: int) -> TokenWork:
    """Every bias is read, keys and values of those that are kept; the products are those of the kept pairs."""
    pairs, entry = config.heads * min(before + 1, config.keep), 2 * config.kv_heads * config.head_size * FLOAT
    biases = config.kv_heads * FLOAT
    weighted = projections(config) + config.kv_heads * config.head_size * config.kv_heads
    read = before * biases + min(before, config.keep) * entry
    return TokenWork("", "dynamic_mask", pairs, 2 * config.head_size * pairs, weighted, read, entry + biases)


DYNAMIC_MASK = register_layer_mixer(
    LayerMixer("dynamic_mask", "softmax attention over the keys of largest bias", _states, _build, _work)
)
