"""Inputs from files: written here byte by byte, or by other tools, and read back."""

from __future__ import annotations

import builtins
import dataclasses
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from neurokit.data.files import read_samples
from neurokit.errors import InputError, MissingRuntimeError
from neurokit.spec import ModelSpec, TensorSpec

STEPS = 5
COUNT = 300


def spec(*shape: int, low: float = 0.0, high: float = 1.0) -> ModelSpec:
    return ModelSpec("m", lambda: None, (TensorSpec("x", shape, low=low, high=high),), time_steps=STEPS)


def events() -> tuple[np.ndarray, ...]:
    """t in microseconds, x, y, polarity; the same as in tests/data/events.aedat4."""
    i = np.arange(COUNT)
    return 1_000_000 + 37 * i, i * 7 % 16, i * 5 % 12, (i % 3 == 0).astype(int)


def expected_frames() -> np.ndarray:
    t, x, y, p = events()
    frames = np.zeros((STEPS, 2, 12, 16), np.float32)
    span = t[-1] - t[0] + 1
    for ti, xi, yi, pi in zip(t, x, y, p, strict=True):
        frames[(ti - t[0]) * STEPS // span, pi, yi, xi] += 1
    return frames


def check_events(path: Path) -> None:
    (x,) = read_samples(path, spec(2, 12, 16), STEPS)
    np.testing.assert_array_equal(x[:, 0].numpy(), expected_frames())


def test_aedat_4_as_dv_processing_wrote_it():
    check_events(Path(__file__).parents[2] / "data" / "events.aedat4")  # dv-processing 2.0.4, LZ4


def test_aedat_4_without_its_reader_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "aedat":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingRuntimeError, match="neurokit-edge\\[events\\]"):
        check_events(Path(__file__).parents[2] / "data" / "events.aedat4")


def test_aedat_3(tmp_path):
    t, x, y, p = events()
    body = b"".join(
        struct.pack("<II", 1 | int(b) << 1 | int(c) << 2 | int(a) << 17, int(d))
        for a, b, c, d in zip(x, p, y, t, strict=True)
    )
    packet = struct.pack("<HHIIIIII", 1, 0, 8, 4, 0, COUNT, COUNT, COUNT)
    path = tmp_path / "e.aedat"
    path.write_bytes(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n" + packet + body)
    check_events(path)


@pytest.mark.parametrize("camera", ["DVS128", "DAVIS346B"])
def test_aedat_2(tmp_path, camera):
    t, x, y, p = events()
    if camera == "DVS128":
        # What the loader of CIFAR10-DVS undoes: x = 127 - high, y = 127 - low, p = 1 - bit.
        address = (127 - x) << 8 | (127 - y) << 1 | (1 - p)
        extra = [(0x8000, 5)]  # a special event
    else:
        address = y << 22 | x << 12 | p << 11
        extra = [(0x80000000, 5)]  # a sample of the grey picture
    pairs = [*zip(address, t, strict=True), *extra]
    path = tmp_path / "e.aedat"
    head = f"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.{camera}\r\n".encode()
    path.write_bytes(head + b"".join(struct.pack(">II", int(a), int(b)) for a, b in pairs))
    check_events(path)


def test_aedat_2_of_an_unknown_camera_and_a_cut_file_are_refused(tmp_path):
    path = tmp_path / "e.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n" + struct.pack(">II", 1 << 22, 5))
    with pytest.raises(InputError, match="which camera"):
        check_events(path)
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: DVS128\r\n" + struct.pack(">III", 1, 5, 3))
    with pytest.raises(InputError, match="ends within"):
        check_events(path)
    path.write_bytes(b"#!AER-DAT9.0\r\n")
    with pytest.raises(InputError, match=r"version 2\.0, 3\.1 or 4\.0"):
        check_events(path)


def test_structured_arrays_as_tonic_gives_them(tmp_path):
    t, x, y, p = events()
    array = np.empty(COUNT, [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
    array["x"], array["y"], array["t"], array["p"] = x, y, t, p
    np.save(tmp_path / "e.npy", array)
    check_events(tmp_path / "e.npy")
    np.savez(tmp_path / "e.npz", t=t, x=x, y=y, p=p)
    check_events(tmp_path / "e.npz")
    np.save(tmp_path / "empty.npy", array[:0])
    with pytest.raises(InputError, match="empty"):
        check_events(tmp_path / "empty.npy")


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_audio_becomes_mel_bands_with_the_tone_in_the_right_one(tmp_path):
    rate, tones = 8000, [300.0, 600.0, 1200.0, 2000.0, 3000.0]
    t = np.arange(rate // 5) / rate
    write_wav(tmp_path / "a.wav", np.concatenate([0.5 * np.sin(2 * np.pi * tone * t) for tone in tones]), rate)
    (x,) = read_samples(tmp_path / "a.wav", spec(20, low=-1.0, high=1.0), STEPS)
    assert x.shape == (STEPS, 1, 20)
    assert float(x.max()) == 1.0
    assert float(x.min()) >= -1.0
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    for step, tone in enumerate(tones):
        centre = round(mel(tone) / (mel(rate / 2) / 21)) - 1
        assert int(x[step, 0].argmax()) == centre
    # The power behind the bands is that of scipy's own spectrogram.
    frame = 0.5 * np.sin(2 * np.pi * tones[0] * t)
    _, _, power = signal.spectrogram(frame, rate, signal.windows.hann(len(t), sym=True), len(t), 0, detrend=False)
    mine = np.abs(np.fft.rfft(frame * np.hanning(len(t)))) ** 2
    np.testing.assert_allclose(mine[1:-1] / mine.max(), power[1:-1, 0] / power.max(), atol=1e-12)


def test_audio_samples_of_two_channels_are_averaged(tmp_path):
    ramp = np.linspace(-0.5, 0.5, 400)
    write_wav(tmp_path / "a.wav", np.stack([ramp, np.zeros(400)], axis=1), 8000)
    (x,) = read_samples(tmp_path / "a.wav", spec(1, 80), STEPS)
    np.testing.assert_allclose(x.numpy().reshape(-1), ramp / 2, atol=1e-4)


def test_audio_that_cannot_be_used_is_refused(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(400), 8000)
    with pytest.raises(InputError, match="silent"):
        read_samples(tmp_path / "a.wav", spec(20), STEPS)
    with pytest.raises(InputError, match="mel bands"):
        read_samples(tmp_path / "a.wav", spec(2, 12, 16), STEPS)
    write_wav(tmp_path / "short.wav", np.ones(6), 8000)
    with pytest.raises(InputError, match="at least 2"):
        read_samples(tmp_path / "short.wav", spec(20), STEPS)


def test_several_samples_of_one_array(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((3, STEPS, 2, 4, 4)).astype(np.float32))
    assert len(read_samples(tmp_path / "a.npy", spec(2, 4, 4), STEPS)) == 3


def test_a_dvs128_is_read_as_spikingjellys_loader_of_cifar10_dvs_reads_it(tmp_path):
    from spikingjelly.datasets.cifar10_dvs import _load_origin_data

    from neurokit.data.recordings import read_aedat

    rng = np.random.default_rng(0)
    pairs = np.empty((500, 2), ">u4")
    pairs[:, 0] = rng.integers(60, 128, 500) << 8 | rng.integers(0, 40, 500) << 1 | (rng.random(500) < 0.2)
    pairs[:, 1] = np.sort(rng.integers(0, 10**6, 500))
    path = tmp_path / "e.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n# created by a DVS128\r\n" + pairs.tobytes())
    theirs, ours = _load_origin_data(path), read_aedat(path)
    for field in "txyp":
        assert (ours[field] == theirs[field]).all()


def test_the_axes_of_a_dvs128_are_those_of_tonic_seen_from_the_other_corner(tmp_path):
    """tonic's read_dvs_128 takes x from the high byte and y from the low one, neither turned nor inverted."""
    from neurokit.data.recordings import read_aedat

    path = tmp_path / "e.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n# DVS128\r\n" + struct.pack(">II", 100 << 8 | 3 << 1 | 1, 7))
    (event,) = read_aedat(path)
    assert (127 - event["x"], 127 - event["y"], 1 - event["p"]) == (100, 3, 1)


def test_as_many_images_as_time_steps_are_samples_where_the_model_takes_images(tmp_path):
    from neurokit.data.files import read_file

    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((STEPS, 2, 4, 4)).astype(np.float32))
    images = dataclasses.replace(spec(2, 4, 4), time_input="image", time_steps=STEPS)
    reading = read_file(tmp_path / "a.npy", images, STEPS)
    assert [tuple(x.shape) for x in reading.samples] == [(1, 2, 4, 4)] * STEPS
    assert reading.description == f"a.npy was read as {STEPS} samples of 2x4x4, shown at each of {STEPS} time steps"
    (sequence,) = read_samples(tmp_path / "a.npy", spec(2, 4, 4), STEPS)
    assert tuple(sequence.shape) == (STEPS, 1, 2, 4, 4)
    assert "1 sample of 2x4x4 at each of" in read_file(tmp_path / "a.npy", spec(2, 4, 4), STEPS).description
