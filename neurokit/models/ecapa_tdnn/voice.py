"""From a waveform to the embedding of a voice: the log-mel front end and ECAPA-TDNN in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokit.models.ecapa_tdnn.features import RATE, LogMel
from neurokit.models.ecapa_tdnn.net import EcapaTDNN


class Voice(nn.Module):
    """Takes a recording as it is; checkpoints of SpeechBrain are those of `embedding`.

    Args:
        channels: Width of the trunk.
        **sizes: Further sizes of `EcapaTDNN`.
    """

    def __init__(self, channels: int, **sizes: int) -> None:
        super().__init__()
        self.features = LogMel(sizes.get("mels", 80))
        self.embedding = EcapaTDNN(channels, **sizes)

    def forward(self, waveform: Tensor) -> Tensor:
        """Takes waveforms `[B, samples]` at 16 kHz, returns embeddings `[B, 192]`."""
        return self.embedding(self.features(waveform))

    def of_public(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns SpeechBrain's names as those of the part that they belong to."""
        if any(name.startswith("embedding.") for name in state):
            return state
        return {f"embedding.{name}": value for name, value in state.items()}


def voices(speakers: torch.Tensor, samples: int, seed: int) -> torch.Tensor:
    """Returns recordings of made-up speakers, `[B, samples]`: harmonics of a wavering pitch through three formants.

    Pitch and formants are the speaker's; what is said (how formants move, loudness, noise) is drawn for each recording.

    Args:
        speakers: Numbers of the speakers, int64 `[B]`.
        samples: Length at 16 kHz.
        seed: Of the recordings.
    """
    said = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / RATE
    made = []
    for speaker in speakers.tolist():
        own = torch.Generator().manual_seed(10_000 + speaker)
        pitch = 90 + 160 * torch.rand(1, generator=own)
        formants = torch.tensor([300.0, 900.0, 2000.0]) + torch.tensor([500.0, 900.0, 1300.0]) * torch.rand(
            3, generator=own
        )
        wavering = 1 + 0.03 * torch.sin(2 * torch.pi * (3 * torch.rand(1, generator=said) + 2) * time)
        phase = 2 * torch.pi * (pitch * wavering).cumsum(0) / RATE
        number = torch.arange(1, 25)[:, None]
        moved = formants * (1 + 0.06 * torch.randn(3, generator=said))
        gain = (1 / (1 + ((number * pitch - moved) / 120).square())).sum(1, keepdim=True)
        wave = (gain * torch.sin(number * phase)).sum(0)
        loud = 0.5 + torch.rand(1, generator=said)
        wave = 0.1 * loud * wave / wave.std() + 0.005 * torch.randn(samples, generator=said)
        made.append(wave)
    return torch.stack(made)
