"""Real inputs from files: images, arrays, event streams and audio, brought into the shape that a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from neurokit.data.event_arrays import EVENT_FIELDS, frames_of, from_columns, is_plain_events
from neurokit.data.images import image_for
from neurokit.data.kinds import IMAGES, KINDS, VOLUMES, kind_of
from neurokit.data.named import read_named
from neurokit.data.prepare import prepared_audio
from neurokit.data.recordings import EVENT_FILES, as_events, convention_of, read_aedat, read_audio
from neurokit.data.volumes import read_volume
from neurokit.errors import InputError, NeurokitError
from neurokit.plain import no_file

if TYPE_CHECKING:
    import torch

    from neurokit.spec import ModelSpec, TensorSpec

Sample = Union["torch.Tensor", Mapping[str, "torch.Tensor"]]
Parts = list[Any]  # one array a sample, or a mapping of the inputs' names to arrays
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
            `[N, *shape]` (N images; where the model takes sequences, N is not T) or `[N, T, *shape]`; the same as the
            one array of an .npz file, or its `x`; events as a structured .npy or .npz with fields t, x, y, p (as tonic
            gives them), as a plain array `[N, 4]`, or an AEDAT 2.0, 3.1 or 4.0 file; audio as .wav; a volume as .nii or
            .nii.gz. Events are counted into T frames of equal duration, one channel a polarity; of audio see
            `read_audio`. Of a model with several inputs an .npz with every input by its name.
        spec: The model; its inputs give shape and range.
        time_steps: T, or None for a model without time.

    Returns:
        The samples, and how the file was understood.

    Raises:
        InputError: If the file is missing, damaged, empty, of another shape, or holds NaN.
    """
    path = Path(path)
    parts = read_arrays(path, spec, time_steps)
    if len(spec.inputs) > 1:
        many = f"{len(parts)} sample{'s' * (len(parts) != 1)}"
        names = ", ".join(port.name for port in spec.inputs)
        return Reading(
            [as_sample(p, spec, time_steps) for p in parts], f"{path.name} was read as {many} of the inputs {names}"
        )
    timed = parts[0].ndim == len(spec.inputs[0].shape) + 1
    samples = [as_sample(part, spec, time_steps) for part in parts]
    return Reading(samples, f"{path.name} was read as {_described(len(parts), timed, path, spec, time_steps)}")


def read_arrays(value: Any, spec: ModelSpec, time_steps: int | None) -> Parts:
    """Reads one file, or takes one sample of a data set in memory, as arrays; numpy alone.

    Args:
        value: The path of a file (see `read_file`), a PIL image, an array, or events.
        spec: The model; its inputs give shape and range, its task mean and deviation of images.
        time_steps: T, or None for a model without time.

    Returns:
        One array a sample, `[*shape]` or `[T, *shape]`; of a model with several inputs mappings by name.

    Raises:
        InputError: As `read_file`.
    """
    if not isinstance(value, str | Path):
        return _in_memory(value, spec, time_steps)
    path = Path(value)
    if lacks := no_file(path):
        raise InputError(f"input file {path} {lacks}", expected="an image, a .npy array or an event file")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"input file {path} has {path.stat().st_size} bytes", expected="at most 4 GiB")
    if len(spec.inputs) > 1:
        return _read_named(path, spec, time_steps)
    return _split(_read(path, spec, time_steps), path, spec, time_steps)


def _in_memory(value: Any, spec: ModelSpec, time_steps: int | None) -> Parts:
    """Returns one sample of a data set in memory."""
    place = Path("a sample of the data set")
    if isinstance(value, Mapping) and len(spec.inputs) > 1:
        return [{port.name: np.asarray(value[port.name], dtype=port.dtype) for port in spec.inputs}]
    if hasattr(value, "convert"):
        return [image_for(value, spec)]
    array = value.numpy() if hasattr(value, "numpy") else np.asarray(value)
    if array.dtype.names:
        array = frames_of(array, place, spec.inputs[0], time_steps)
    elif is_plain_events(array, spec.inputs[0]):
        array = frames_of(from_columns(array, place), place, spec.inputs[0], time_steps)
    return _split(array, place, spec, time_steps)


def _read_named(path: Path, spec: ModelSpec, time_steps: int | None) -> Parts:
    """Reads samples of a model with several inputs."""
    found = {}
    for own, array in read_named(path, spec):
        found[own.inputs[0].name] = _split(array, path, own, time_steps)
    counts = {name: len(samples) for name, samples in found.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"{path} holds different numbers of samples: {said}", expected="as many of each input")
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def _described(count: int, timed: bool, path: Path, spec: ModelSpec, time_steps: int | None) -> str:
    shape = "x".join(map(str, spec.inputs[0].shape))
    text = f"{count} sample{'s' * (count != 1)} of {shape}"
    if timed:
        text += f" at each of {time_steps} time steps"
    elif time_steps is not None:
        text += f", shown at each of {time_steps} time steps"
    return text + (f"; {convention}" if (convention := convention_of(path)) else "")


def _read(path: Path, spec: ModelSpec, time_steps: int | None) -> np.ndarray:
    try:
        return _of_kind(kind_of(path), path, spec, time_steps)
    except NeurokitError:
        raise
    except Exception as error:  # every reader has exceptions of its own
        raise InputError(
            f"input file {path} cannot be read: {type(error).__name__}: {str(error)[:120]}",
            expected="an undamaged file of its kind",
        ) from error


def _of_kind(kind: str, path: Path, spec: ModelSpec, time_steps: int | None) -> np.ndarray:
    """Reads a file of a kind into an array, events counted into frames."""
    port = spec.inputs[0]
    if kind in IMAGES:
        return image_for(path, spec)
    if kind == ".npy":
        array = np.load(path, allow_pickle=False)
        if array.dtype.names:
            return frames_of(array, path, port, time_steps)
        return frames_of(from_columns(array, path), path, port, time_steps) if is_plain_events(array, port) else array
    if kind == ".npz":
        with np.load(path, allow_pickle=False) as data:
            return _from_npz(data, path, spec, time_steps)
    if kind in EVENT_FILES:
        return frames_of(read_aedat(path), path, port, time_steps)
    if kind == ".wav":
        if spec.preprocess:
            return prepared_audio(path, port, time_steps, spec.preprocess)
        return read_audio(path, port, time_steps)
    if kind in VOLUMES:
        return read_volume(path, port.numbers)
    raise InputError(
        f"input file {path} is of an unknown kind {kind!r}",
        expected=", ".join(sorted(KINDS)),
        fix="convert events to a .npz with t, x, y, p",
    )


def _from_npz(data: Any, path: Path, spec: ModelSpec, time_steps: int | None) -> np.ndarray:
    names, port = set(data.files), spec.inputs[0]
    if names >= EVENT_FIELDS:
        return frames_of(as_events(data), path, port, time_steps)
    samples = sorted(names - {"y"} if len(names) > 1 else names)  # y is what labelled data call their labels
    if len(samples) != 1:
        raise InputError(
            f"{path} holds arrays {', '.join(sorted(names))}",
            expected="one array, x and y, or t, x, y and p of an event stream",
        )
    array = np.asarray(data[samples[0]])
    if is_plain_events(array, port):
        return frames_of(from_columns(array, path), path, port, time_steps)
    return array


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


def as_sample(part: Any, spec: ModelSpec, time_steps: int | None) -> Sample:
    """Returns arrays of one sample as tensors with their batch axis, and their time axis where the model has one."""
    if isinstance(part, Mapping):
        ports = {port.name: port for port in spec.inputs}
        return {name: _tensor(array, ports[name], spec, time_steps) for name, array in part.items()}
    return _tensor(part, spec.inputs[0], spec, time_steps)


def _tensor(sample: np.ndarray, info: TensorSpec, spec: ModelSpec, time_steps: int | None) -> torch.Tensor:
    import torch

    x = torch.from_numpy(np.ascontiguousarray(sample, dtype=info.dtype))
    timed = x.dim() == len(info.numbers) + 1
    if time_steps is None or spec.time_input == "image":
        if timed:
            raise InputError("the input has a time axis, the model takes one image", expected=f"{list(info.numbers)}")
        return x.unsqueeze(0)
    return (x if timed else x.unsqueeze(0).expand(time_steps, *x.shape)).unsqueeze(1).contiguous()
