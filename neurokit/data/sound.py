"""Steps for sound as torchaudio defines them, in numpy alone: resampling, mel spectrograms, decibels.

Tables (windows, filters, bands) are made in 64 bits and used in 32, as torchaudio's own; `neurokit.data.in_graph`
computes with the same ones inside of a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError

Array = NDArray[Any]

_ZERO_CROSSINGS, _ROLL_OFF = 6, 0.99  # of the windowed sinc: torchaudio's lowpass_filter_width and rolloff
SMALLEST = 1e-10  # below it, decibels are those of it: torchaudio's amin
_SLANEY_HZ, _SLANEY_START, _SLANEY_STEP = 200.0 / 3, 15.0, math.log(6.4) / 27  # Slaney's scale: linear to 1 kHz
_PADDING = {"reflect": "reflect", "constant": "constant", "replicate": "edge", "circular": "wrap"}


@dataclass(frozen=True)
class Spectrum:
    """What a mel spectrogram computes with.

    Attributes:
        filters: Windowed cosines, then sines, of every bin, `[2 * bins, n_fft]`.
        bands: Weight of each bin in each band, `[n_mels, bins]`.
        hop: Samples from frame to frame.
        zeros: Zeros before and after the recording.
        edge: Samples that are added at both ends after them.
        pad_mode: How these are made.
        power: 2 for power, 1 for magnitude.
    """

    filters: Array
    bands: Array
    hop: int
    zeros: int
    edge: int
    pad_mode: str
    power: float


def resampled(wave: Array, orig_freq: int = 16_000, new_freq: int = 16_000) -> Array:
    """Returns a recording at another rate, `[N']`, by a Hann-windowed sinc.

    Args:
        wave: Samples `[N]`.
        orig_freq: Their rate in Hz.
        new_freq: The new rate in Hz.
    """
    kernels, width, old, new = sinc_of(orig_freq, new_freq)
    if old == new:
        return wave
    padded = np.pad(wave, (width, width + old))
    frames = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[1])[::old]
    made = frames @ kernels.T.astype(wave.dtype)
    return np.ascontiguousarray(made.reshape(-1)[: math.ceil(new * len(wave) / old)])


def sinc_of(orig_freq: int, new_freq: int) -> tuple[Array, int, int, int]:
    """Returns what resamples: kernels `[new, width]`, samples before the first, and both rates in lowest terms."""
    divisor = math.gcd(int(orig_freq), int(new_freq))
    old, new = int(orig_freq) // divisor, int(new_freq) // divisor
    cutoff = min(old, new) * _ROLL_OFF
    width = math.ceil(_ZERO_CROSSINGS * old / cutoff)
    time = np.arange(0, -new, -1)[:, None] / new + np.arange(-width, width + old)[None] / old
    time = np.clip(time * cutoff, -_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    window = np.cos(time * math.pi / _ZERO_CROSSINGS / 2) ** 2
    return np.sinc(time) * window * (cutoff / old), width, old, new


def spectrum_of(settings: Mapping[str, Any]) -> Spectrum:
    """Returns what a MelSpectrogram of these settings computes with.

    Raises:
        InputError: If the settings cannot be meant together.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    rate, n_fft = int(given.get("sample_rate", 16_000)), int(given.get("n_fft", 400))
    length = int(given.get("win_length", n_fft))
    hop, n_mels = int(given.get("hop_length", length // 2)), int(given.get("n_mels", 128))
    low, high = float(given.get("f_min", 0.0)), float(given.get("f_max", rate // 2))
    power, mode = float(given.get("power", 2.0)), str(given.get("pad_mode", "reflect"))
    if length > n_fft or not 0 <= low < high or power not in (1.0, 2.0) or mode not in _PADDING:
        raise InputError(
            f"MelSpectrogram has win_length {length}, n_fft {n_fft}, f_min {low:g}, f_max {high:g}, power {power:g}, "
            f"pad_mode {mode!r}",
            expected=f"win_length <= n_fft, 0 <= f_min < f_max, power 1 or 2, pad_mode one of {', '.join(_PADDING)}",
        )
    filters = _filters(n_fft, length) * _norm(given.get("normalized", False), n_fft, length)
    bins = np.linspace(0, rate // 2, n_fft // 2 + 1)
    bands = mel_bands(bins, n_mels, low, high, given.get("norm"), str(given.get("mel_scale", "htk")))
    edge = n_fft // 2 if given.get("center", True) else 0
    return Spectrum(
        filters.astype(np.float32), bands.astype(np.float32), hop, int(given.get("pad", 0)), edge, mode, power
    )


def mel_spectrogram(wave: Array, **settings: Any) -> Array:
    """Returns the power, or magnitude, in mel bands, `[n_mels, frames]`; settings are torchaudio's.

    Raises:
        InputError: If the recording is too short for one frame.
    """
    made = spectrum_of(settings)
    padded = np.pad(wave.astype(np.float32), made.zeros)
    if made.edge:
        _check_edge(padded, made)
        padded = np.pad(padded, made.edge, mode=_PADDING[made.pad_mode])  # type: ignore[call-overload]
    size = made.filters.shape[1]
    if len(padded) < size:
        raise InputError(f"a recording of {len(wave)} samples", expected=f"at least one frame of {size}")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: made.hop]
    real, imaginary = np.split(made.filters @ frames.T, 2)
    power = real * real + imaginary * imaginary
    return made.bands @ (power if made.power == 2 else np.sqrt(power))


def decibels(x: Array, stype: str = "power", top_db: float | None = None) -> Array:
    """Returns decibels of a power ("power") or an amplitude ("magnitude"), at most `top_db` below the highest."""
    level = (10.0 if stype == "power" else 20.0) * np.log10(np.maximum(x, np.float32(SMALLEST)))
    level = level if top_db is None else np.maximum(level, level.max() - np.float32(top_db))
    return level.astype(np.float32)


def fixed_length(wave: Array, size: int) -> Array:
    """Returns `size` samples: cropped, or with zeros at the end."""
    return np.pad(wave[:size], (0, max(0, size - len(wave))))


def mel_bands(
    frequency: Array, n_mels: int, low: float, high: float, norm: str | None = None, scale: str = "htk"
) -> Array:
    """Returns triangles on a mel scale, `[n_mels, bins]`.

    Args:
        frequency: Of each bin of the spectrum, in Hz.
        n_mels: Number of bands.
        low: Lowest frequency in Hz.
        high: Highest.
        norm: None, or "slaney": triangles of area 1.
        scale: "htk" (2595 log10(1 + f / 700)) or "slaney" (linear below 1 kHz, logarithmic above).

    Raises:
        InputError: If norm or scale is another.
    """
    if norm not in (None, "slaney") or scale not in ("htk", "slaney"):
        raise InputError(
            f"MelSpectrogram has norm {norm!r}, mel_scale {scale!r}",
            expected="no norm or slaney, and mel_scale htk or slaney",
        )
    edges = _hertz(np.linspace(_mels(low, scale), _mels(high, scale), n_mels + 2), scale)
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    made = np.maximum(np.minimum(rising, falling), 0)
    return made if norm is None else made * (2 / (edges[2:] - edges[:-2]))[:, None]


def _mels(hertz: float, scale: str) -> float:
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hertz / 700.0)
    return hertz / _SLANEY_HZ if hertz < 1000 else _SLANEY_START + math.log(hertz / 1000.0) / _SLANEY_STEP


def _hertz(mels: Array, scale: str) -> Array:
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))
    above = 1000.0 * np.exp(_SLANEY_STEP * (mels - _SLANEY_START))
    return np.where(mels >= _SLANEY_START, above, _SLANEY_HZ * mels)


def _window(n_fft: int, length: int) -> Array:
    """Returns a periodic Hann window in the middle of a frame."""
    left = (n_fft - length) // 2
    hann = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(length) / length)
    return np.pad(hann, (left, n_fft - length - left))


def _filters(n_fft: int, length: int) -> Array:
    angles = 2 * math.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft
    return np.concatenate([np.cos(angles), np.sin(angles)]) * _window(n_fft, length)


def _norm(normalized: bool | str, n_fft: int, length: int) -> float:
    """Returns what a spectrum is multiplied by; true is "window"."""
    if normalized in (True, "window"):
        return 1 / math.sqrt(float((_window(n_fft, length) ** 2).sum()))
    return 1 / math.sqrt(n_fft) if normalized == "frame_length" else 1.0


def _check_edge(wave: Array, made: Spectrum) -> None:
    if made.pad_mode == "reflect" and len(wave) <= made.edge:
        raise InputError(
            f"a recording of {len(wave)} samples cannot be reflected at its ends",
            expected=f"more than {made.edge} samples",
            fix="FixLength before MelSpectrogram",
        )
