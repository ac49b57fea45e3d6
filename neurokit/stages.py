"""How long each stage took from a model to an artifact, and why one takes long: collected, heard, or logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_log = logging.getLogger("neurokit")
_seconds: ContextVar[dict[str, float] | None] = ContextVar("neurokit_stages", default=None)
_told: ContextVar[Callable[[str], None] | None] = ContextVar("neurokit_told", default=None)


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


@contextmanager
def heard(by: Callable[[str], None]) -> Iterator[None]:
    """Hands what is told inside to somebody: a line each, without its end."""
    token = _told.set(by)
    try:
        yield
    finally:
        _told.reset(token)


def tell(line: str) -> None:
    """Says why something takes long: to who hears, else to the log at level INFO."""
    by = _told.get()
    if by is None:
        _log.info("%s", line)
    else:
        by(line)
