"""How long each stage of the road from a model to an artifact took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_seconds: ContextVar[dict[str, float] | None] = ContextVar("neurokit_stages", default=None)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Collects the seconds of every stage that runs inside, by name; a stage that runs twice is summed."""
    seconds: dict[str, float] = {}
    token = _seconds.set(seconds)
    try:
        yield seconds
    finally:
        _seconds.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Marks a stage; where nobody collects, it costs nothing."""
    seconds, start = _seconds.get(), time.perf_counter()
    try:
        yield
    finally:
        if seconds is not None:
            seconds[name] = round(seconds.get(name, 0.0) + time.perf_counter() - start, 3)
