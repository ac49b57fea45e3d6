"""Real inputs from files: images, arrays, event streams and audio, brought into the shape that a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from neurokit.data.named import read_named
from neurokit.data.pixels import in_type
from neurokit.data.recordings import EVENT_FILES, as_events, convention_of, read_aedat, read_audio
from neurokit.errors import InputError, NeurokitError

if TYPE_CHECKING:
    import torch

    from neurokit.spec import ModelSpec

Sample = Union["torch.Tensor", Mapping[str, "torch.Tensor"]]
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
READABLE = {*_IMAGES, ".npy", ".npz", ".wav", *EVENT_FILES}
_EVENT_FIELDS = {"t", "x", "y", "p"}
_MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class Reading:
    """What was read from a file.

    Attributes:
        samples: One tensor a sample: `[T, 1, *shape]`, or `[1, *shape]` without time or for a model that repeats its
            image; of a model with several inputs a mapping of their names to tensors.
        description: How the file was understood, in one line: how many samples of how many time steps.
    """

    samples: list[Sample]
    description: str


def read_samples(path: str | Path, spec: ModelSpec, time_steps: int | None) -> list[Sample]:
    """Reads one file as samples of a model; see `read_file`, which also says how it was understood."""
    return read_file(path, spec, time_steps).samples


def read_file(path: str | Path, spec: ModelSpec, time_steps: int | None) -> Reading:
    """Reads one file as samples of a model.

    Args:
        path: An image; a .npy array `[*shape]`, `[T, *shape]` (one sequence, for instance audio frames),
            `[N, *shape]` (N images; where the model takes sequences, N is not T) or `[N, T, *shape]`; events as a
            structured .npy or .npz with fields t, x, y, p (as tonic gives them), or an AEDAT 2.0, 3.1 or 4.0 file;
            audio as .wav. Events are counted into T frames of equal duration, one channel a polarity; of audio see
            `read_audio`. Of a model with several inputs an .npz with every input by its name.
        spec: The model; its inputs give shape and range.
        time_steps: T, or None for a model without time.

    Returns:
        The samples, and how the file was understood.

    Raises:
        InputError: If the file is missing, damaged, empty, of another shape, or holds NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"input file {path} does not exist", expected="an image, a .npy array or an event file")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"input file {path} has {path.stat().st_size} bytes", expected="at most 4 GiB")
    if len(spec.inputs) > 1:
        return _read_named(path, spec, time_steps)
    array = _read(path, spec, time_steps)
    parts = _split(array, path, spec, time_steps)
    timed = parts[0].ndim == len(spec.inputs[0].shape) + 1
    samples: list[Sample] = [_tensor(sample, spec, time_steps) for sample in parts]
    return Reading(samples, f"{path.name} was read as {_described(len(parts), timed, path, spec, time_steps)}")


def _read_named(path: Path, spec: ModelSpec, time_steps: int | None) -> Reading:
    """Reads samples of a model with several inputs."""
    found = {}
    for own, array in read_named(path, spec):
        parts = _split(array, path, own, time_steps)
        found[own.inputs[0].name] = [_tensor(part, own, time_steps) for part in parts]
    counts = {name: len(samples) for name, samples in found.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"{path} holds different numbers of samples: {said}", expected="as many of each input")
    samples: list[Sample] = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    many = f"{len(samples)} sample{'s' * (len(samples) != 1)}"
    return Reading(samples, f"{path.name} was read as {many} of the inputs {', '.join(found)}")


def _described(count: int, timed: bool, path: Path, spec: ModelSpec, time_steps: int | None) -> str:
    shape = "x".join(map(str, spec.inputs[0].shape))
    text = f"{count} sample{'s' * (count != 1)} of {shape}"
    if timed:
        text += f" at each of {time_steps} time steps"
    elif time_steps is not None:
        text += f", shown at each of {time_steps} time steps"
    return text + (f"; {convention}" if (convention := convention_of(path)) else "")


def _read(path: Path, spec: ModelSpec, time_steps: int | None) -> np.ndarray:
    suffix = path.suffix.lower()
    try:
        if suffix in _IMAGES:
            return _image(path, spec)
        if suffix == ".npy":
            array = np.load(path, allow_pickle=False)
            return _frames(array, path, spec, time_steps) if array.dtype.names else array
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as data:
                return _from_npz(data, path, spec, time_steps)
        if suffix in EVENT_FILES:
            return _frames(read_aedat(path), path, spec, time_steps)
        if suffix == ".wav":
            return read_audio(path, spec.inputs[0], time_steps)
    except NeurokitError:
        raise
    except Exception as error:  # every reader has exceptions of its own
        raise InputError(
            f"input file {path} cannot be read: {type(error).__name__}: {str(error)[:120]}",
            expected="an undamaged file of its kind",
        ) from error
    raise InputError(
        f"input file {path} is of an unknown kind {suffix!r}",
        expected="an image, .npy, .npz, .aedat, .aedat4 or .wav",
        fix="convert events to a .npz with t, x, y, p",
    )


def _image(path: Path, spec: ModelSpec) -> np.ndarray:
    """Reads an image, scaled to the input's size and range."""
    from PIL import Image

    info = spec.inputs[0]
    if len(info.numbers) != 3 or info.numbers[0] not in (1, 3):
        raise InputError(
            f"{path} is an image, the model takes {list(info.numbers)}", expected="an array in a .npy file"
        )
    channels, height, width = info.numbers
    with Image.open(path) as image:
        mode = "L" if channels == 1 else "RGB"
        pixels = np.asarray(image.convert(mode).resize((width, height)), dtype=np.float32) / 255.0
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return in_type(pixels * (info.high - info.low) + info.low, info.dtype)


def _from_npz(data: Any, path: Path, spec: ModelSpec, time_steps: int | None) -> np.ndarray:
    names = set(data.files)
    if names >= _EVENT_FIELDS:
        return _frames(as_events(data), path, spec, time_steps)
    if len(names) == 1:
        return np.asarray(data[data.files[0]])
    raise InputError(
        f"{path} holds arrays {', '.join(sorted(names))}", expected="one array, or t, x, y and p of an event stream"
    )


def _frames(events: np.ndarray, path: Path, spec: ModelSpec, time_steps: int | None) -> np.ndarray:
    """Counts events into T frames of equal duration `[T, C, H, W]`; with two channels one a polarity."""
    missing = _EVENT_FIELDS - set(events.dtype.names or ())
    if missing:
        raise InputError(f"{path} lacks the event field(s) {', '.join(sorted(missing))}", expected="t, x, y and p")
    if len(events) == 0:
        raise InputError(f"the event stream {path} is empty", expected="at least one event")
    if time_steps is None:
        raise InputError(f"{path} is an event stream, the model has no time steps", expected="a spiking model")
    shape = spec.inputs[0].numbers
    if len(shape) != 3 or shape[0] not in (1, 2):
        raise InputError(f"{path} is an event stream, the model takes {list(shape)}", expected="[1 or 2, H, W]")
    channels, height, width = shape
    t = events["t"].astype(np.int64)
    x, y = events["x"].astype(np.int64), events["y"].astype(np.int64)
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        raise InputError(
            f"{path} has events at x {x.min()} to {x.max()}, y {y.min()} to {y.max()}",
            expected=f"0 to {width - 1} and 0 to {height - 1}",
            fix="crop or scale the recording",
        )
    span = max(int(t.max() - t.min()) + 1, 1)
    step = (t - t.min()) * time_steps // span
    polarity = (events["p"].astype(np.int64) > 0).astype(np.int64) if channels == 2 else np.zeros_like(t)
    frames = np.zeros((time_steps, channels, height, width), dtype=np.float32)
    np.add.at(frames, (step, polarity, y, x), 1.0)
    return frames


def _split(array: np.ndarray, path: Path, spec: ModelSpec, time_steps: int | None) -> list[np.ndarray]:
    """Tells one sample from several by the number of axes."""
    shape = spec.inputs[0].numbers
    if array.dtype.kind not in "fiub":
        raise InputError(f"{path} holds {array.dtype}", expected="numbers")
    if array.size == 0:
        raise InputError(f"{path} is empty", expected=f"samples of shape {list(shape)}")
    extra = array.ndim - len(shape)
    if extra not in (0, 1, 2) or array.shape[extra:] != tuple(shape):
        raise InputError(
            f"{path} has shape {list(array.shape)}", expected=f"{list(shape)}, or that with leading T or N, or N and T"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path} holds NaN or infinity", expected="finite numbers")
    sequences = time_steps is not None and spec.time_input != "image"  # else a leading T is as many images
    if extra == 0 or (extra == 1 and sequences and array.shape[0] == time_steps):
        return [array]
    if extra == 2 and array.shape[1] != time_steps:
        raise InputError(f"{path} has shape {list(array.shape)}", expected=f"[N, T = {time_steps}, ...]")
    return list(array)


def _tensor(sample: np.ndarray, spec: ModelSpec, time_steps: int | None) -> torch.Tensor:
    """Returns a sample with its batch axis, and its time axis where the model has one."""
    import torch

    info = spec.inputs[0]
    x = torch.from_numpy(np.ascontiguousarray(sample, dtype=info.dtype))
    timed = x.dim() == len(info.numbers) + 1
    if time_steps is None or spec.time_input == "image":
        if timed:
            raise InputError("the input has a time axis, the model takes one image", expected=f"{list(info.numbers)}")
        return x.unsqueeze(0)
    return (x if timed else x.unsqueeze(0).expand(time_steps, *x.shape)).unsqueeze(1).contiguous()
