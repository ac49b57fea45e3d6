"""Images as models take them: decoded, resized, scaled, normalised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.decoded import decoded
from neurokit.data.pixels import in_type
from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.spec import ModelSpec, TensorSpec


def image_sample(sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
    """Returns an image `[C, H, W]` as a model takes it.

    Settings: `mean` and `std`, one number a channel, of brightness 0 to 1 (without them the image is scaled to the
    range of the input).

    Args:
        sample: Path of an image file, a PIL image, or an array `[H, W]` or `[H, W, C]` of 8-bit brightness.
        port: The model's input.
        settings: The task's settings.

    Raises:
        InputError: If it is no image, or the model takes none.
    """
    if len(port.shape) != 3 or port.shape[0] not in (1, 3):
        raise InputError(f"input {port.name!r} is {list(port.shape)}", expected="an image of 1 or 3 channels")
    channels, height, width = port.numbers
    with _open(sample) as image:
        small = image.convert("L" if channels == 1 else "RGB").resize((width, height))
        pixels = np.asarray(small, dtype=np.float32) / 255.0
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    if "mean" in settings or "std" in settings:
        mean, std = (_channel(settings, name, channels) for name in ("mean", "std"))
        return np.ascontiguousarray((pixels - mean) / std)
    return in_type(pixels * (port.high - port.low) + port.low, port.dtype)


def image_for(sample: Any, spec: ModelSpec) -> np.ndarray:
    """Returns an image `[C, H, W]` as a model declares it: after its preprocessing, or as its task says.

    Raises:
        InputError: If it is no image, or the model takes none.
    """
    port = spec.inputs[0]
    if not spec.preprocess:
        return image_sample(sample, port, spec.task.settings if spec.task is not None else {})
    from neurokit.data.prepare import is_audio, prepared_image

    if is_audio(spec.preprocess):
        raise InputError(f"{sample} is a picture, the declared preprocessing is for sound", expected="a .wav file")
    with _open(sample) as image:
        return prepared_image(image, port, spec.preprocess)


def image_or_array(sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
    """Returns an image as `image_sample`; an array of the input's own shape is taken as it is."""
    if isinstance(sample, np.ndarray) and sample.shape == tuple(port.shape):
        return sample.astype(port.dtype)
    return image_sample(sample, port, settings)


def _open(sample: Any) -> Any:
    from PIL import Image, UnidentifiedImageError

    if isinstance(sample, Image.Image):
        return sample.copy()
    if isinstance(sample, np.ndarray):
        if sample.dtype != np.uint8 or sample.ndim not in (2, 3):
            raise InputError(f"an array {sample.dtype} {list(sample.shape)}", expected="uint8 [H, W] or [H, W, C]")
        return Image.fromarray(sample)
    try:
        return decoded(Path(sample))
    except (OSError, UnidentifiedImageError, TypeError) as error:
        raise InputError(f"{sample} cannot be read as an image: {error}", expected="an image file") from error


def _channel(settings: Mapping[str, Any], name: str, channels: int) -> np.ndarray:
    values = np.asarray(settings.get(name, 0.0 if name == "mean" else 1.0), dtype=np.float32).reshape(-1)
    if values.size not in (1, channels):
        raise InputError(f"setting {name!r} has {values.size} numbers", expected=f"1 or {channels}")
    return values.reshape(-1, 1, 1)
