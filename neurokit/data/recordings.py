"""Recordings of event cameras (AEDAT 2.0, 3.1 and 4.0) and of microphones (.wav)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.sound import mel_bands
from neurokit.data.wav import read_wav, unit_wave
from neurokit.errors import InputError, MissingRuntimeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neurokit.spec import TensorSpec

EVENT_FILES = (".aedat", ".aedat2", ".aedat3", ".aedat4")

# Addresses of jAER's AEDAT 2.0 by camera: (mask, shift) of x, y and polarity, and the mask of what is no event.
# https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html
_DVS128 = ((0xFE, 1), (0x7F00, 8), (0x1, 0), 0x8000)
_DVS128_PIXELS = 128
_DAVIS = ((0x3FF000, 12), (0x7FC00000, 22), (0x800, 11), 0x80000000)

_DECIBELS = 80.0  # what is so far below the loudest band is silence


def as_events(arrays: Mapping[str, Any]) -> NDArray[Any]:
    """Returns events as one structured array, from a mapping of their fields t, x, y and p."""
    fields = [np.asarray(arrays[name]) for name in "txyp"]
    events = np.empty(len(fields[0]), dtype=[(name, field.dtype) for name, field in zip("txyp", fields, strict=True)])
    for name, field in zip("txyp", fields, strict=True):
        events[name] = field
    return events


def read_aedat(path: Path) -> NDArray[Any]:
    """Reads the polarity events of an AEDAT recording, as a structured array with fields t (us), x, y, p.

    Raises:
        InputError: If the version or the camera is not known.
        MissingRuntimeError: If the file is AEDAT 4.0 and no reader for it is installed.
    """
    with path.open("rb") as file:
        head = file.readline().decode("ascii", "replace").strip()
    if head.startswith("#!AER-DAT4"):
        return _aedat4(path)
    if head.startswith("#!AER-DAT3"):
        from spikingjelly.datasets import load_aedat_v3

        return as_events(load_aedat_v3(str(path)))
    if head.startswith("#!AER-DAT2"):
        return _aedat2(path)
    raise InputError(
        f"{path} starts with {head[:40]!r}",
        expected="an AEDAT recording of version 2.0, 3.1 or 4.0 (#!AER-DAT...)",
        fix="convert it to a .npz with arrays t, x, y, p",
    )


def convention_of(path: Path) -> str:
    """Returns what is to be known of the axes and the polarity of a recording, or "" where the file says it itself."""
    if path.suffix.lower() not in EVENT_FILES:
        return ""
    data = path.open("rb").read(1 << 16)
    if not data.startswith(b"#!AER-DAT2"):
        return ""
    davis = b"davis" in data.lower()
    return "DAVIS addresses as they are" if davis else "DVS128 axes and polarity as CIFAR10-DVS's own loader gives them"


def _aedat4(path: Path) -> NDArray[Any]:
    try:
        import aedat
    except ImportError as error:
        raise MissingRuntimeError(
            f"{path.name} is AEDAT 4.0, and its reader 'aedat' is not installed",
            expected="the package aedat",
            fix="pip install 'neurokit-edge[events]', or convert it to a .npz with arrays t, x, y, p",
        ) from error
    packets = [packet["events"] for packet in aedat.Decoder(str(path)) if "events" in packet]
    if not packets:
        raise InputError(f"the recording {path} holds no events", expected="a stream of polarity events")
    events = np.concatenate(packets)
    return as_events({"t": events["t"], "x": events["x"], "y": events["y"], "p": events["on"]})


def _aedat2(path: Path) -> NDArray[Any]:
    """Reads AEDAT 2.0: comment lines, then pairs of address and microseconds, each 32 bits, big-endian."""
    data, start, header = path.read_bytes(), 0, ""
    while data[start : start + 1] == b"#":
        end = data.find(b"\n", start) + 1
        if not end:
            break
        header += data[start:end].decode("ascii", "replace")
        start = end
    pairs = np.frombuffer(data[start:], ">u4")
    if len(pairs) % 2:
        raise InputError(f"{path} ends within an event", expected="pairs of 32-bit address and time stamp")
    address, time = pairs[::2].astype(np.int64), pairs[1::2].astype(np.int64)
    layout = _layout(header, address, path)
    kept = (address & layout[3]) == 0
    x, y, p = ((address[kept] & mask) >> shift for mask, shift in layout[:3])
    if layout is _DVS128:
        # As the loader of CIFAR10-DVS (its dat2mat.m, and SpikingJelly's after it): the camera counts from the far
        # corner, the low address is the row, and the bit is set where it got darker.
        x, y, p = _DVS128_PIXELS - 1 - y, _DVS128_PIXELS - 1 - x, 1 - p
    return as_events({"t": time[kept], "x": x, "y": y, "p": p})


def _layout(header: str, address: NDArray[np.int64], path: Path) -> tuple[Any, ...]:
    """Returns how a camera packs its addresses: named in the header, or the DVS128 if they are short enough."""
    name = header.lower()
    if "davis" in name:
        return _DAVIS
    if "dvs128" in name or (len(address) and int(address.max()) < 2**16):
        return _DVS128
    raise InputError(
        f"{path} does not say which camera made it",
        expected="DVS128 or DAVIS in the header of an AEDAT 2.0 file",
        fix="convert it to a .npz with arrays t, x, y, p",
    )


def read_audio(path: Path, info: TensorSpec, time_steps: int | None) -> NDArray[np.float32]:
    """Reads a .wav file as T frames of equal duration, `[T, *shape]`; channels are averaged.

    A model that takes `[1, N]` gets N samples a frame, linearly interpolated, from -1 to 1. One that takes `[F]` gets
    the energy in F mel bands (mel = 2595 log10(1 + f / 700), triangles from 0 to half the sampling rate) of the
    Hann-windowed frame, in dB below the loudest, 80 dB being silence, scaled to the input's range.

    Raises:
        InputError: If the model takes another shape or has no time steps, or the file is silent or too short.
    """
    shape = info.numbers
    if time_steps is None or not (len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)):
        raise InputError(
            f"{path} is audio, the model takes {list(shape)} with T = {time_steps}",
            expected="a spiking model that takes [F] mel bands or [1, N] samples a time step",
        )
    rate, samples = read_wav(path)
    wave = unit_wave(samples)
    if len(wave) < 2 * time_steps:
        raise InputError(f"{path} has {len(wave)} samples", expected=f"at least 2 for each of {time_steps} time steps")
    length = len(wave) // time_steps
    frames = wave[: length * time_steps].reshape(time_steps, length)
    if len(shape) == 2:
        places = np.linspace(0, length - 1, shape[1])
        return np.stack([np.interp(places, np.arange(length), frame) for frame in frames])[:, None].astype(np.float32)
    power = np.abs(np.fft.rfft(frames * np.hanning(length), axis=1)) ** 2
    bands = power @ mel_bands(np.fft.rfftfreq(length, 1 / rate), shape[0], 0.0, rate / 2).T
    if not bands.max() > 0:
        raise InputError(f"{path} is silent", expected="a recording with sound in it")
    level = 1.0 + 10 * np.log10(np.maximum(bands / bands.max(), 10 ** (-_DECIBELS / 10))) / _DECIBELS
    return (info.low + level * (info.high - info.low)).astype(np.float32)
