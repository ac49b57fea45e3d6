"""ECAPA-TDNN: embeddings of voices, from a waveform of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.spec import ModelSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SOURCE = "Desplanques et al., ECAPA-TDNN, Interspeech 2020; parameters named as in SpeechBrain (Apache-2.0)"
SAMPLES = Dim("samples", min=3200, max=960_000, multiple=160)  # 0.2 s to a minute, in hops of 10 ms
_CALIBRATED_ON = 16_000  # samples


@register_model
def ecapa_tdnn_512() -> ModelSpec:
    """The published network of width 512: 6,194,048 parameters, 80 log-mel bands in the graph."""
    return _spec("ecapa_tdnn_512", 512)


@register_model
def ecapa_tdnn_1024() -> ModelSpec:
    """The published network of width 1024: 14,660,416 parameters."""
    return _spec("ecapa_tdnn_1024", 1024)


def ecapa_tdnn_small() -> ModelSpec:
    """The same parts, 32 wide."""
    return _spec("ecapa_tdnn_small", 32, pooled=48, scale=4, inner=16)


def _spec(name: str, channels: int, **sizes: int) -> ModelSpec:
    def build() -> nn.Module:
        from neurokit.models.common.untrained import build_untrained
        from neurokit.models.ecapa_tdnn.voice import Voice

        return build_untrained(lambda: Voice(channels, **sizes), _recordings(4, _CALIBRATED_ON, 0))

    def example(batch: int, time_steps: int, seed: int, sizes: dict[str, int] | None = None) -> dict[str, torch.Tensor]:
        return {"waveform": _recordings(batch, (sizes or {}).get("samples", _CALIBRATED_ON), seed)}

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("waveform", (SAMPLES,), layout="L", low=-1.0, meaning="one channel at 16 kHz, -1 to 1"),),
        outputs=("embedding",),
        description="speaker embedding of 192 numbers from a waveform",
        source=SOURCE,
        task=TaskSpec("verification", {"sample_rate": 16_000}),
        example=example,
        small=ecapa_tdnn_small,
    )


def _recordings(batch: int, samples: int, seed: int) -> torch.Tensor:
    import torch

    from neurokit.models.ecapa_tdnn.voice import voices

    return voices(torch.arange(batch) % 3, samples, seed)
