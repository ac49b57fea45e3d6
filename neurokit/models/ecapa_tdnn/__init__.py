"""ECAPA-TDNN: embeddings of voices, from a waveform of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.spec import ModelSpec, StateSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SOURCE = "Desplanques et al., ECAPA-TDNN, Interspeech 2020; parameters named as in SpeechBrain (Apache-2.0)"
SAMPLES = Dim("samples", min=3200, max=960_000, multiple=160)  # 0.2 s to a minute, in hops of 10 ms
CHUNK = Dim("samples", min=160, max=960_000, multiple=160)  # 10 ms to a minute
_CALIBRATED_ON = 16_000  # samples
SMALL = {"pooled": 48, "scale": 4, "inner": 16}


@register_model
def ecapa_tdnn_512() -> ModelSpec:
    """The published network of width 512: 6,194,048 parameters, 80 log-mel bands in the graph."""
    return _spec("ecapa_tdnn_512", 512)


@register_model
def ecapa_tdnn_1024() -> ModelSpec:
    """The published network of width 1024: 14,660,416 parameters."""
    return _spec("ecapa_tdnn_1024", 1024)


@register_model
def ecapa_tdnn_512_stream() -> ModelSpec:
    """The network of width 512 over a stream: chunks in, the embedding so far out; it looks back only."""
    return _stream("ecapa_tdnn_512_stream", 512)


@register_model
def ecapa_tdnn_1024_stream() -> ModelSpec:
    """The network of width 1024 over a stream."""
    return _stream("ecapa_tdnn_1024_stream", 1024)


def ecapa_tdnn_small() -> ModelSpec:
    """The same parts, 32 wide."""
    return _spec("ecapa_tdnn_small", 32, **SMALL)


def ecapa_tdnn_stream_small() -> ModelSpec:
    """The streaming form, 32 wide."""
    return _stream("ecapa_tdnn_stream_small", 32, **SMALL)


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


def _stream(name: str, channels: int, pooled: int = 1536, scale: int = 8, inner: int = 128) -> ModelSpec:
    from neurokit.models.ecapa_tdnn.states import NO_PEAK, state_sizes

    def build() -> nn.Module:
        from neurokit.models.common.untrained import build_untrained
        from neurokit.models.ecapa_tdnn.stream import VoiceStream

        return build_untrained(lambda: VoiceStream(channels, pooled, scale, inner), _recordings(4, _CALIBRATED_ON, 0))

    def example(batch: int, time_steps: int, seed: int, sizes: dict[str, int] | None = None) -> dict[str, torch.Tensor]:
        return {"waveform": _recordings(batch, (sizes or {}).get("samples", _CALIBRATED_ON // 4), seed)}

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("waveform", (CHUNK,), layout="L", low=-1.0, meaning="the next chunk, 16 kHz, -1 to 1"),),
        outputs=("embedding",),
        states=tuple(
            StateSpec(part, size, layout="CL"[: len(size)], init=NO_PEAK if part == "peak" else 0.0)
            for part, size in state_sizes(channels, pooled, scale).items()
        ),
        description="speaker embedding of what was heard so far, from chunks of a waveform",
        source=SOURCE,
        task=TaskSpec("verification", {"sample_rate": 16_000}),
        example=example,
        small=ecapa_tdnn_stream_small,
    )


def _recordings(batch: int, samples: int, seed: int) -> torch.Tensor:
    import torch

    from neurokit.models.ecapa_tdnn.voice import voices

    return voices(torch.arange(batch) % 3, samples, seed)
