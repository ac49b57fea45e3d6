"""Dynamic mask attention: values decide which keys are kept, and bias them (Doge)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.models.decoder.mixing import LayerMixer, cache, register_layer_mixer
from neurokit.spec import StateSpec

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.decoder.config import DecoderConfig


def _states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    return cache("k", config, entries), cache("v", config, entries), cache("bias", config, entries, 0)


def _build(config: DecoderConfig, layer: int) -> nn.Module:
    from neurokit.models.decoder.attention import DynamicMaskAttention

    return DynamicMaskAttention(config)


DYNAMIC_MASK = register_layer_mixer(
    LayerMixer("dynamic_mask", "softmax attention over the keys of largest bias", _states, _build)
)
