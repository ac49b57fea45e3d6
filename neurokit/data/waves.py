"""One-channel recordings for models that take a waveform of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurokit.data.wav import read_wav, unit_wave
from neurokit.dims import Dim
from neurokit.errors import InputError
from neurokit.plain import is_file
from neurokit.spec import TensorSpec


def read_wave(path: Path, port: TensorSpec, rate: int) -> np.ndarray:
    """Reads a .wav file as a waveform from -1 to 1, cut to a length that the model takes.

    Args:
        path: The file.
        port: The model's input, `[samples]`.
        rate: Samples a second that the model takes.

    Raises:
        InputError: If it has another rate or several channels, is silent or empty, or too short or long.
    """
    if not is_file(path):
        raise InputError(f"there is no file {path}", expected="a .wav file")
    found, samples = read_wav(path)
    if samples.ndim > 1 and samples.shape[1] > 1:
        raise InputError(
            f"{path} has {samples.shape[1]} channels", expected="one: a voice", fix=f"sox {path} mono.wav remix 1"
        )
    if found != rate:
        raise InputError(
            f"{path} has {found} samples a second", expected=f"{rate}", fix=f"sox {path} -r {rate} resampled.wav"
        )
    wave = unit_wave(samples).astype(np.float32)
    size = port.shape[0]
    least, most, step = (size.min, size.max, size.multiple) if isinstance(size, Dim) else (len(wave), len(wave), 1)
    if isinstance(size, int):
        least = most = size
    kept = len(wave) - len(wave) % (step or 1)
    if not least <= kept <= (most or kept):
        raise InputError(
            f"{path} has {len(wave)} samples ({len(wave) / rate:.3g} s)",
            expected=f"{least} to {most} ({least / rate:.3g} to {(most or kept) / rate:.3g} s)",
        )
    if not np.isfinite(wave).all() or not wave.any():
        raise InputError(f"{path} is silent or holds no finite numbers", expected="a recording of a voice")
    return wave[:kept]
