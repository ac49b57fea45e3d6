"""What every meter of energy is, and the integration of a power over time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

_POLL_S = 0.05


class Meter(Protocol):
    """Measures the energy between two moments."""

    name: str

    def start(self) -> None:
        """Starts measuring."""
        ...

    def stop(self) -> float:
        """Returns the joules since `start`."""
        ...


class Absent(Exception):  # noqa: N818 - no error: a machine without this meter
    """This machine does not have the meter; the message says why."""


class Polled:
    """Reads a power again and again in a thread and integrates it by the trapezoidal rule.

    Args:
        name: Name of the meter.
        power: Returns the present power in watts.
        clock: Time in seconds.
    """

    def __init__(self, name: str, power: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._power, self._clock = power, clock
        self._points: list[tuple[float, float]] = []

    def start(self) -> None:
        """Starts measuring."""
        self._points = [(self._clock(), self._power())]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Returns the joules since `start`."""
        self._end.set()
        self._thread.join()
        self._points.append((self._clock(), self._power()))
        return integrate(self._points)

    def _poll(self) -> None:
        while not self._end.wait(_POLL_S):
            self._points.append((self._clock(), self._power()))


def integrate(points: Sequence[tuple[float, float]]) -> float:
    """Returns the joules under (seconds, watts), by the trapezoidal rule."""
    return sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in pairwise(points))


def text_of(path: Path) -> str:
    """Returns the content of a small file of the system, or "" where it is not there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def power_at(points: Sequence[tuple[float, float]], moment: float) -> float:
    """Returns the power in watts at a moment between two readings, (seconds, watts)."""
    for (t0, p0), (t1, p1) in pairwise(points):
        if t0 <= moment <= t1:
            return p0 + (p1 - p0) * ((moment - t0) / (t1 - t0) if t1 > t0 else 0.0)
    return points[-1][1]
