"""How long each stage took from a model to an artifact: collected, and told to the logger `neurokit`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_log = logging.getLogger("neurokit")
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
    """Marks a stage: its seconds are collected inside of `timed`, and logged at level INFO."""
    seconds, start = _seconds.get(), time.perf_counter()
    try:
        yield
    finally:
        took = time.perf_counter() - start
        _log.info("%s: %.3f s", name, took)
        if seconds is not None:
            seconds[name] = round(seconds.get(name, 0.0) + took, 3)
