""".wav files: by SciPy where it is installed, else whole-number samples by the standard library, as on a board."""

from __future__ import annotations

import struct
import warnings
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.plain import check_regular

_EXPECTED = "an undamaged .wav file of whole or float samples"


def read_wav(path: Path) -> tuple[int, NDArray[Any]]:
    """Reads a .wav file.

    Returns:
        Samples a second, and samples `[N]` or `[N, channels]` of the file's own type; 24 bits fill 32.

    Raises:
        InputError: If it is damaged, or of a kind that needs SciPy, which is not there.
    """
    try:
        from scipy.io import wavfile
    except ImportError:
        return _by_standard_library(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of chunks that it does not read
            rate, samples = wavfile.read(check_regular(path))
    except (ValueError, EOFError, OSError, struct.error) as error:  # struct: of a head that ends too early
        raise InputError(f"{path} cannot be read: {error}", expected=_EXPECTED) from error
    return int(rate), samples


def unit_wave(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Returns samples of any width from -1 to 1, channels averaged."""
    made = samples.astype(np.float64)
    if samples.dtype.kind == "u":
        made = (made - 128) / 128
    elif samples.dtype.kind == "i":
        made /= float(-np.iinfo(samples.dtype).min)
    return np.asarray(made.mean(axis=1) if made.ndim == 2 else made)


def _by_standard_library(path: Path) -> tuple[int, NDArray[Any]]:
    try:
        with wave.open(str(check_regular(path)), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = np.frombuffer(file.readframes(file.getnframes()), np.uint8)
    except (wave.Error, EOFError, OSError) as error:
        fix = "pip install scipy, which reads more kinds" if "unknown format" in str(error) else ""
        raise InputError(f"{path} cannot be read: {error}", expected=_EXPECTED, fix=fix) from error
    data = data[: len(data) - len(data) % (width * channels)]
    if width == 3:  # into the upper bytes of 32 bits, as SciPy gives them
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = data.reshape(-1, 3)
        data, width = wide.reshape(-1), 4
    samples = data.view(np.dtype({1: "u1", 2: "<i2", 4: "<i4"}[width]))
    return rate, samples.reshape(-1, channels) if channels > 1 else samples
