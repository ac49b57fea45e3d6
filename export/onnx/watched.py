"""A time limit for calls of graphs with loops: how often a loop goes round is known only when it has run."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

from neurokit.errors import ArtifactError

FIRST_S = 5.0  # of any call
STEP_S = 1.0  # more for every step of every sample
STEP_S_PER_MB = 0.1  # and for every megabyte of the model, of each
_LOOK_S = 0.25  # between two looks at the clock
_EVERY: weakref.WeakSet[Watched] = weakref.WeakSet()
_starting = threading.Lock()
_thread: threading.Thread | None = None


class Watched:
    """A session of ONNX Runtime whose calls are stopped when they take much longer than their inputs explain.

    Args:
        session: The session.
        size: Of the model, in bytes.
    """

    def __init__(self, session: Any, size: int) -> None:
        import onnxruntime as ort

        self._session, self._step_s = session, STEP_S + STEP_S_PER_MB * size / 1e6
        self._new_options = ort.RunOptions
        self._options = self._fresh()
        self._end = float("inf")
        self._lock = threading.Lock()
        _EVERY.add(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Any, feeds: Mapping[str, Any], options: Any = None) -> Any:
        """Runs the session on arrays.

        Raises:
            ArtifactError: If it was stopped.
        """
        with self._limited(feeds.values()):
            return self._session.run(names, feeds, options or self._options)

    def run_bound(self, binding: Any, arrays: Iterable[Any]) -> None:
        """Runs the session on what is bound, of which arrays tell how long it may take.

        Raises:
            ArtifactError: If it was stopped.
        """
        with self._limited(arrays):
            self._session.run_with_iobinding(binding, self._options)

    @contextmanager
    def _limited(self, arrays: Iterable[Any]) -> Iterator[None]:
        count = max((_steps(array) for array in arrays), default=1)
        limit = FIRST_S + count * self._step_s
        _begin()
        self._end = time.monotonic() + limit
        try:
            yield
        except Exception as error:
            with self._lock:
                stopped = self._options.terminate
            if stopped:
                raise ArtifactError(
                    f"a call of a graph with loops was stopped after {limit:.0f} s: they go round without an end",
                    expected="loops over time steps, samples or tiles of the inputs",
                    fix="export the model again, or give fewer steps and samples a call",
                ) from error
            raise
        finally:
            with self._lock:
                self._end = float("inf")
                if self._options.terminate:
                    self._options = self._fresh()

    def look(self) -> None:
        """Stops a call whose time is over."""
        with self._lock:
            if time.monotonic() > self._end:
                self._options.terminate = True

    def _fresh(self) -> Any:
        options = self._new_options()
        options.log_severity_level = 4  # what fails is raised
        return options


def _steps(array: Any) -> int:
    """Returns how many steps of samples an input may hold: `[T, B, ...]`, tokens `[B, S]`, or features `[B, F]`."""
    shape, dtype = getattr(array, "shape", ()), getattr(array, "dtype", None)
    both = len(shape) > 2 or getattr(dtype, "kind", "") in "iu"
    return prod(shape[: 2 if both else 1])


def run_bound(session: Any, binding: Any, arrays: Iterable[Any]) -> None:
    """Runs a session, watched or not, on what is bound."""
    if isinstance(session, Watched):
        session.run_bound(binding, arrays)
    else:
        session.run_with_iobinding(binding)


def _begin() -> None:
    """Starts the thread that looks at the clock, where there is none: after a fork there is none."""
    global _thread
    with _starting:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_watch, name="neurokit-watch", daemon=True)
            _thread.start()


def _watch() -> None:
    while True:
        time.sleep(_LOOK_S)
        _look()


def _look() -> None:
    for watched in list(_EVERY):  # in a function of its own: a name here would keep the last one
        watched.look()
