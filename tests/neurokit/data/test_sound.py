"""Steps for sound held against torchaudio, and .wav files read without SciPy against SciPy."""

import sys

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from torch import nn

from neurokit.data.in_graph import SoundModel
from neurokit.data.prepare import prepared_wave
from neurokit.data.sound import decibels, fixed_length, mel_spectrogram, resampled
from neurokit.data.wav import read_wav
from neurokit.errors import InputError
from neurokit.spec import PreprocessStep

transforms = pytest.importorskip("torchaudio.transforms")
WAVE = np.random.default_rng(0).standard_normal(3000).astype(np.float32) / 4
SPECTRA = [
    {},
    {"sample_rate": 8000, "n_fft": 256, "hop_length": 100, "n_mels": 12},
    {"win_length": 300, "power": 1.0, "n_mels": 20},
    {"norm": "slaney", "mel_scale": "slaney", "n_mels": 40, "normalized": True},
    {"center": False, "pad": 7, "f_min": 30.0, "f_max": 7000.0, "normalized": "frame_length", "n_mels": 24},
    {"pad_mode": "constant", "n_mels": 24},
]


@pytest.mark.parametrize("rates", [(16000, 8000), (8000, 16000), (44100, 16000), (48000, 44100), (8000, 8000)])
def test_resampling_is_torchaudios(rates):
    wanted = transforms.Resample(*rates)(torch.from_numpy(WAVE)).numpy()
    found = resampled(WAVE, *rates)
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=0, atol=2e-5)  # torchaudio's times of the filter are in 32 bits
    step = PreprocessStep("Resample", {"orig_freq": rates[0], "new_freq": rates[1]})
    inside = SoundModel(nn.Identity(), [step], wanted.shape)
    assert np.allclose(inside(torch.from_numpy(WAVE[None]))[0].numpy(), found, rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", SPECTRA)
def test_spectra_and_decibels_are_torchaudios_outside_and_inside_of_a_graph(settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of bands without a bin
        power = transforms.MelSpectrogram(**settings)(torch.from_numpy(WAVE))
    found = mel_spectrogram(WAVE, **settings)
    assert found.shape == power.shape
    assert np.allclose(found, power.numpy(), rtol=0, atol=3e-5 * float(power.max()))  # its bands are in 32 bits
    for top in (None, 40.0):
        level = transforms.AmplitudeToDB(top_db=top)(power).numpy()
        filled = found > found.max() * 1e-5  # of nothing decibels are those of rounding
        assert np.allclose(decibels(found, top_db=top)[filled], level[filled], rtol=0, atol=1e-2)
    steps = [PreprocessStep("MelSpectrogram", settings), PreprocessStep("AmplitudeToDB", {"top_db": 40.0})]
    inside = SoundModel(nn.Identity(), steps, tuple(power.shape))
    batch = np.stack([WAVE, WAVE[::-1] / 9])
    made = inside(torch.from_numpy(batch)).numpy()
    assert np.allclose(made, [prepared_wave(each, steps) for each in batch], rtol=0, atol=1e-2)


def test_lengths_are_set_and_what_cannot_be_meant_is_refused():
    assert np.array_equal(fixed_length(WAVE, 10), WAVE[:10])
    assert np.array_equal(fixed_length(WAVE[:4], 6), [*WAVE[:4], 0, 0])
    for settings in ({"f_min": 9000.0}, {"win_length": 500}, {"power": 3.0}, {"pad_mode": "odd"}, {"norm": "none"}):
        with pytest.raises(InputError, match="MelSpectrogram has"):
            mel_spectrogram(WAVE, **settings)
    with pytest.raises(InputError, match="a recording of 100 samples"):
        mel_spectrogram(WAVE[:100])


@pytest.mark.parametrize(("kind", "channels"), [(np.uint8, 1), (np.int16, 2), (np.int32, 1)])
def test_recordings_are_read_without_scipy(kind, channels, tmp_path, monkeypatch):
    samples = np.random.default_rng(0).integers(0, 200, (50, channels)).astype(kind)
    wavfile.write(tmp_path / "a.wav", 8000, samples if channels > 1 else samples[:, 0])
    wanted = read_wav(tmp_path / "a.wav")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    found = read_wav(tmp_path / "a.wav")
    assert found[0] == wanted[0] == 8000
    assert found[1].dtype == wanted[1].dtype
    assert np.array_equal(found[1], wanted[1])


def test_what_the_standard_library_does_not_read_says_what_does(tmp_path, monkeypatch):
    wavfile.write(tmp_path / "a.wav", 8000, WAVE)  # in 32-bit float
    (tmp_path / "b.wav").write_bytes(b"RIFFnothing")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InputError, match="cannot be read") as error:
        read_wav(tmp_path / "a.wav")
    assert "scipy" in error.value.fix
    with pytest.raises(InputError, match="cannot be read"):
        read_wav(tmp_path / "b.wav")
