"""Reads samples to simulate: arrays of images or sequences, and event streams that are binned into time steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError

Floats = NDArray[np.float32]


def read_samples(path: str | Path, shape: tuple[int, ...], time_steps: int) -> list[Floats]:
    """Reads one or several samples from a .npy or .npz file.

    What the file may hold: an image `[*shape]`; a sequence `[T, *shape]`; several of either with one more axis in
    front; a structured array of events with fields x, y, p and t (as tonic gives them), binned by `bin_events`. In a
    .npz every array is read in the order of the names.

    Args:
        path: File.
        shape: Shape of one sample of one time step.
        time_steps: T.

    Returns:
        Samples, each `[T, *shape]` or, for an image, `[*shape]`.

    Raises:
        InputError: If the file cannot be read, holds no event, NaN, or an array of another shape.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read input {path}: {error}", expected="a .npy or .npz file of numbers") from error
    if isinstance(loaded, np.ndarray):
        arrays = [loaded]
    else:
        with loaded:
            arrays = [loaded[name] for name in sorted(loaded.files)]
    if not arrays:
        raise InputError(f"{path} holds no array", expected="at least one sample")
    return [sample for array in arrays for sample in _samples(array, shape, time_steps, str(path))]


def bin_events(events: NDArray[Any], shape: tuple[int, ...], time_steps: int) -> Floats:
    """Returns events as spikes: equal spans of time, one where any event of that pixel and polarity falls.

    Args:
        events: Structured array with fields x, y, p (0 or 1) and t.
        shape: (2, height, width): polarity first.
        time_steps: T.

    Returns:
        `[T, 2, height, width]` of 0 and 1.

    Raises:
        InputError: If there are no events, a field is missing, or an event lies outside the frame.
    """
    missing = [name for name in "xypt" if name not in (events.dtype.names or ())]
    if missing:
        raise InputError(f"the events have no field {', '.join(missing)}", expected="fields x, y, p and t")
    if len(events) == 0:
        raise InputError("the event stream is empty", expected="at least one event", fix="record a longer stream")
    if len(shape) != 3 or shape[0] != 2:
        raise InputError(f"events do not fit an input of shape {list(shape)}", expected="[2, height, width]")
    p, y, x = (events[name].astype(np.int64) for name in "pyx")
    for name, values, size in (("p", p, 2), ("y", y, shape[1]), ("x", x, shape[2])):
        if int(values.min()) < 0 or int(values.max()) >= size:
            found = f"{int(values.min())} to {int(values.max())}"
            raise InputError(f"events have {name} from {found}", expected=f"0 to {size - 1}", fix="crop or scale them")
    t = events["t"].astype(np.float64)
    span = float(t.max() - t.min()) or 1.0
    step = np.minimum(((t - t.min()) / span * time_steps).astype(np.int64), time_steps - 1)
    frames = np.zeros((time_steps, *shape), np.float32)
    frames[step, p, y, x] = 1.0
    return frames


def _samples(array: NDArray[Any], shape: tuple[int, ...], time_steps: int, path: str) -> list[Floats]:
    if array.dtype.names:
        return [bin_events(array, shape, time_steps)]
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype}", expected="numbers, or events with fields x, y, p and t")
    if array.size == 0:
        raise InputError(f"{path} is empty (shape {list(array.shape)})", expected="at least one sample")
    values = array.astype(np.float32)
    if bool(np.isnan(values).any()):
        raise InputError(f"{path} holds NaN", expected="numbers")
    for one in (shape, (time_steps, *shape)):
        if values.shape == one:
            return [values]
        if values.shape[1:] == one:
            return list(values)
    raise InputError(
        f"{path} has shape {list(array.shape)}",
        expected=f"{list(shape)}, {[time_steps, *shape]}, or several of them",
        fix="give one sample without a batch axis, or samples along the first axis",
    )
