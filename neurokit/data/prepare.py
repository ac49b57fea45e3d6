"""Declared preprocessing applied to one image or recording: Pillow and numpy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.data.sound import decibels, fixed_length, mel_spectrogram, resampled
from neurokit.data.wav import read_wav, unit_wave
from neurokit.errors import InputError
from neurokit.spec import PreprocessStep, TensorSpec

# By name: whose class it is (torchvision.transforms.v2, torchaudio.transforms, librosa.util), and its settings.
IMAGE_STEPS: dict[str, tuple[str, ...]] = {
    "Resize": ("size", "interpolation", "max_size"),
    "CenterCrop": ("size",),
    "Grayscale": ("num_output_channels",),
    "RGB": (),
    "ToImage": (),
    "ToDtype": ("dtype", "scale"),
    "Normalize": ("mean", "std"),
}
AUDIO_STEPS: dict[str, tuple[str, ...]] = {
    "Resample": ("orig_freq", "new_freq"),
    "FixLength": ("size",),
    "MelSpectrogram": (
        *("sample_rate", "n_fft", "win_length", "hop_length", "f_min", "f_max", "pad", "n_mels", "power"),
        *("normalized", "center", "pad_mode", "norm", "mel_scale"),
    ),
    "AmplitudeToDB": ("stype", "top_db"),
}
INTERPOLATIONS = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
ON_ARRAYS = ("ToDtype", "Normalize")  # what is arithmetic of one number each, and may be part of the graph


def is_audio(steps: Sequence[PreprocessStep]) -> bool:
    """Returns whether steps are for sound."""
    return any(step.name in AUDIO_STEPS for step in steps)


def prepared_image(image: Any, port: TensorSpec, steps: Sequence[PreprocessStep]) -> np.ndarray:
    """Returns an image as a model takes it, after its declared steps.

    Args:
        image: A PIL image; it is taken as RGB, or as brightness where the input has one channel and the image too.
        port: The model's input, `[C, H, W]`.
        steps: Steps for images, in order.

    Returns:
        `[C, H, W]` of the input's type.

    Raises:
        InputError: If they give another shape or type than the input has.
    """
    array = _array(_stepped(image, port, steps))
    if array.shape != port.numbers:
        fix = "add Grayscale" if (array.shape[0], port.numbers[0]) == (3, 1) else "Resize and CenterCrop set the size"
        raise InputError(
            f"preprocessing gives {list(array.shape)}, input {port.name!r} is {list(port.numbers)}",
            expected="what the input takes",
            fix=fix,
        )
    if array.dtype != np.dtype(port.dtype):
        raise InputError(
            f"preprocessing gives {array.dtype}, input {port.name!r} is {port.dtype}",
            expected="what the input takes",
            fix='add ToDtype with dtype = "float32" and scale = true' if array.dtype == np.uint8 else "ToDtype sets it",
        )
    return np.ascontiguousarray(array)


def picture_steps(steps: Sequence[PreprocessStep]) -> tuple[PreprocessStep, ...]:
    """Returns the steps before the first that is arithmetic: they take and give pictures of bytes."""
    return tuple(itertools.takewhile(lambda step: step.name not in ON_ARRAYS, steps))


def prepared_pixels(image: Any, port: TensorSpec, steps: Sequence[PreprocessStep]) -> np.ndarray:
    """Returns a picture as bytes `[C, H, W]` after those of its steps that are for pictures (see `prepared_image`)."""
    return np.ascontiguousarray(_array(_stepped(image, port, picture_steps(steps))))


def _stepped(image: Any, port: TensorSpec, steps: Sequence[PreprocessStep]) -> Any:
    gray = image.mode in ("1", "L") and port.numbers[0] == 1
    value: Any = image.convert("L" if gray else "RGB")
    for step in steps:
        value = _IMAGE[step.name](value, **step.settings)
    return value


def _array(value: Any) -> np.ndarray:
    """Returns an image as `[C, H, W]`."""
    if isinstance(value, np.ndarray):
        return value
    array = np.asarray(value)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def resized(width: int, height: int, size: Sequence[int], max_size: int | None) -> tuple[int, int]:
    """Returns width and height as torchvision's Resize computes them: of one number that of the shorter side."""
    if len(size) == 2:
        return int(size[1]), int(size[0])
    short, long = sorted((width, height))
    new_short, new_long = int(size[0]), int(size[0] * long / short)
    if max_size is not None and new_long > max_size:
        new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_short, new_long) if width <= height else (new_long, new_short)


def _resize(image: Any, size: Sequence[int], interpolation: str = "bilinear", max_size: int | None = None) -> Any:
    width, height = image.size
    return image.resize(resized(width, height, size, max_size), INTERPOLATIONS[interpolation])


def _center_crop(image: Any, size: Sequence[int]) -> Any:
    high, wide = (int(size[0]), int(size[-1]))
    width, height = image.size
    if wide > width or high > height:
        from PIL import ImageOps

        more = (max(0, wide - width), max(0, high - height))
        image = ImageOps.expand(image, (more[0] // 2, more[1] // 2, (more[0] + 1) // 2, (more[1] + 1) // 2))
        width, height = image.size
    top, left = round((height - high) / 2.0), round((width - wide) / 2.0)
    return image.crop((left, top, left + wide, top + high))


def _grayscale(image: Any, num_output_channels: int = 1) -> Any:
    return image.convert("L") if num_output_channels == 1 else image.convert("L").convert("RGB")


def _to_dtype(value: Any, dtype: str = "float32", scale: bool = False) -> np.ndarray:
    array = _array(value)
    if dtype == "uint8" or array.dtype != np.uint8:
        return array.astype(dtype)
    made = array.astype(np.float32)
    return (made / np.float32(255.0) if scale else made).astype(dtype)


def _normalize(value: Any, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    array = _array(value)
    centre, spread = (np.asarray(each, array.dtype).reshape(-1, 1, 1) for each in (mean, std))
    return (array - centre) / spread


_IMAGE: dict[str, Any] = {
    "Resize": _resize,
    "CenterCrop": _center_crop,
    "Grayscale": _grayscale,
    "RGB": lambda image: image.convert("RGB"),
    "ToImage": lambda image: image,
    "ToDtype": _to_dtype,
    "Normalize": _normalize,
}


def prepared_audio(path: Path, port: TensorSpec, time_steps: int | None, steps: Sequence[PreprocessStep]) -> np.ndarray:
    """Returns a .wav file as a model takes it, after its declared steps; channels are averaged.

    Args:
        path: The file.
        port: The model's input: `[N]` or `[1, N]` samples, `[F, frames]` or `[1, F, frames]`; `[F]` with T frames.
        time_steps: T, or None.
        steps: Steps for sound, in order.

    Raises:
        InputError: If the file's rate is another than a step is for, or the result does not fit the input.
    """
    if not is_audio(steps):
        raise InputError(f"{path} is a recording, the declared preprocessing is for pictures", expected="a picture")
    rate, samples = read_wav(path)
    value = _sound(unit_wave(samples), rate, path, steps)
    whole = port.numbers
    if value.size == np.prod(whole) and value.shape in (whole, whole[1:]):
        return np.ascontiguousarray(value.reshape(whole), dtype=port.dtype)
    if time_steps is not None and value.ndim == 2 and value.T.shape == (time_steps, *whole):
        return np.ascontiguousarray(value.T, dtype=port.dtype)
    steps_said = f" at each of {time_steps} time steps" if time_steps is not None else ""
    raise InputError(
        f"{path}: preprocessing gives {list(value.shape)}, input {port.name!r} is {list(whole)}{steps_said}",
        expected="what the input takes",
        fix="FixLength before MelSpectrogram sets the number of frames",
    )


def rate_of(step: PreprocessStep) -> int:
    """Returns the samples a second that a step is for, or 0 where it does not say."""
    return int(step.settings.get("orig_freq", step.settings.get("sample_rate", 0)))


def prepared_wave(wave: np.ndarray, steps: Sequence[PreprocessStep]) -> np.ndarray:
    """Returns samples `[N]`, from -1 to 1, after steps for sound."""
    value = np.ascontiguousarray(wave, dtype=np.float32)
    for step in steps:
        value = _SOUND[step.name](value, **step.settings)
    return value


def _sound(wave: np.ndarray, rate: int, path: Path, steps: Sequence[PreprocessStep]) -> np.ndarray:
    for step in steps:
        if rate_of(step) not in (0, rate):
            raise InputError(
                f"{path} has {rate} samples a second, and {step.name} is for {rate_of(step)}",
                expected=f"recordings of {rate_of(step)} Hz",
                fix=f"Resample with orig_freq = {rate} before it",
            )
        rate = int(step.settings.get("new_freq", rate))
    try:
        return prepared_wave(wave, steps)
    except InputError as error:
        raise InputError(f"{path}: {error.what}", expected=error.expected, fix=error.fix) from error


_SOUND: dict[str, Any] = {
    "Resample": resampled,
    "FixLength": fixed_length,
    "MelSpectrogram": mel_spectrogram,
    "AmplitudeToDB": decibels,
}
