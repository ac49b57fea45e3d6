"""Log-mel features of a waveform as one strided convolution with windowed cosines and sines, so that they export."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.data.sound import mel_bands

RATE = 16_000  # Hz
WINDOW, HOP = 400, 160  # samples: 25 ms, 10 ms
SMALLEST_POWER = 1e-6


class LogMel(nn.Module):
    """Logarithm of the power in mel bands, less its mean over the recording.

    The short-time Fourier transform is a convolution whose filters are the windowed cosines and sines of its bins; an
    exporter sees Conv, and a runtime needs no complex numbers. Window (Hamming, periodic), mel scale (HTK) and framing
    (centred, reflecting) are those of `torchaudio.transforms.MelSpectrogram`.

    Args:
        mels: Number of bands.
        causal: Frames end at their last sample, zeros stand before the recording, and no mean is taken off: what a
            stream can do.
    """

    filters: Tensor
    bands: Tensor

    def __init__(self, mels: int = 80, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        n = torch.arange(WINDOW, dtype=torch.float64)
        window = 0.54 - 0.46 * torch.cos(2 * math.pi * n / WINDOW)
        angles = 2 * math.pi * torch.outer(torch.arange(WINDOW // 2 + 1, dtype=torch.float64), n) / WINDOW
        filters = torch.cat([angles.cos(), angles.sin()]) * window
        self.register_buffer("filters", filters.float().unsqueeze(1), persistent=False)
        bands = mel_bands(np.linspace(0, RATE / 2, WINDOW // 2 + 1), mels, 0.0, RATE / 2)
        self.register_buffer("bands", torch.from_numpy(bands).float().unsqueeze(2), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Takes a waveform `[B, samples]` at 16 kHz, returns `[B, frames, mels]`."""
        if self.causal:
            return self.of_frames(F.pad(waveform, (WINDOW - HOP, 0)))
        reach = WINDOW // 2
        features = self.of_frames(F.pad(waveform.unsqueeze(1), (reach, reach), mode="reflect").squeeze(1))
        return features - features.mean(1, keepdim=True)

    def of_frames(self, audio: Tensor) -> Tensor:
        """Takes `[B, samples]`, returns `[B, frames, mels]` of the windows that are whole, and takes no mean off."""
        real, imaginary = F.conv1d(audio.unsqueeze(1), self.filters, stride=HOP).chunk(2, dim=1)
        power = F.conv1d(real.square() + imaginary.square(), self.bands)
        return (power + SMALLEST_POWER).log().transpose(1, 2)
