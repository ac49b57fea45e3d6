"""Events in arrays: structured as tonic gives them, or plain `[N, 4]`, counted into frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.recordings import as_events
from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec

EVENT_FIELDS = {"t", "x", "y", "p"}


def is_plain_events(array: np.ndarray, port: TensorSpec) -> bool:
    """Returns whether an array is a list of events `[N, 4]`, by what the model takes: frames of one or two channels."""
    return array.ndim == 2 and array.shape[1] == 4 and len(port.shape) == 3 and array.dtype.kind in "iuf"


def from_columns(array: np.ndarray, path: Path) -> np.ndarray[Any, Any]:
    """Returns a plain array of events as a structured one.

    The polarity is the column of two values 0 and 1 (or -1 and 1); the time is the column that never falls and spans
    most; of the other two the first is x.

    Raises:
        InputError: If that does not tell the columns apart.
    """
    if not len(array):
        raise InputError(f"the event stream {path} is empty", expected="at least one event")
    columns = [array[:, at] for at in range(4)]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path} holds NaN or infinity", expected="finite numbers")
    signs = [at for at, column in enumerate(columns) if set(np.unique(column)) <= {-1, 0, 1}]
    rising = [at for at, column in enumerate(columns) if (np.diff(column) >= 0).all() and at not in signs]
    times = sorted(rising, key=lambda at: float(np.ptp(columns[at])), reverse=True)[:1]
    polarity = next((at for at in (3, 2) if at in signs), None)
    if polarity is None or not times:
        raise InputError(
            f"{path} is [N, 4] and does not tell which column is time and which polarity",
            expected="a time that never falls, and a polarity of 0 and 1 in the third or last column",
            fix="save a structured array, or an .npz file, with t, x, y and p",
        )
    x, y = (at for at in range(4) if at not in (times[0], polarity))
    order = {"t": times[0], "x": x, "y": y, "p": polarity}
    return as_events({name: columns[at] for name, at in order.items()})


def frames_of(events: np.ndarray, path: Path, port: TensorSpec, time_steps: int | None) -> np.ndarray:
    """Counts events into T frames of equal duration `[T, C, H, W]`; with two channels one a polarity.

    Raises:
        InputError: If a field is missing, there is no event, one lies outside, or the model takes no such frames.
    """
    missing = EVENT_FIELDS - set(events.dtype.names or ())
    if missing:
        raise InputError(f"{path} lacks the event field(s) {', '.join(sorted(missing))}", expected="t, x, y and p")
    if len(events) == 0:
        raise InputError(f"the event stream {path} is empty", expected="at least one event")
    if time_steps is None:
        raise InputError(f"{path} is an event stream, the model has no time steps", expected="a spiking model")
    shape = port.numbers
    if len(shape) != 3 or shape[0] not in (1, 2):
        raise InputError(f"{path} is an event stream, the model takes {list(shape)}", expected="[1 or 2, H, W]")
    channels, height, width = shape
    if any(events[name].dtype.kind == "f" and not np.isfinite(events[name]).all() for name in "txyp"):
        raise InputError(f"{path} holds NaN or infinity", expected="finite numbers")
    t = _ticks(events["t"])
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


def _ticks(t: np.ndarray) -> np.ndarray:
    """Returns times as whole numbers; times in seconds, as fractions, as microseconds."""
    if t.dtype.kind == "f" and (t != np.floor(t)).any():
        return np.round(t * 1e6).astype(np.int64)
    return t.astype(np.int64)
