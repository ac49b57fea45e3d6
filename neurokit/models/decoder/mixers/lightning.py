"""Linear attention with a decay by head and a gate (TransNormerLLM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.models.decoder.mixing import LayerMixer, register_layer_mixer
from neurokit.spec import StateSpec

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.decoder.config import DecoderConfig


def _states(config: DecoderConfig, layer: int, entries: Dim | int) -> tuple[StateSpec, ...]:
    width = config.head_size * (2 if layer else 1)  # the position doubles the keys of every layer but the first
    return (StateSpec("kv", (config.heads, width, config.head_size), layout="HFF"),)


def _build(config: DecoderConfig, layer: int) -> nn.Module:
    from neurokit.models.decoder.linear import LinearMixer

    return LinearMixer(config, layer)


LIGHTNING = register_layer_mixer(
    LayerMixer("lightning", "linear attention with a decay by head, a norm and a gate", _states, _build)
)
