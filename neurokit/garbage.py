"""Python's search for cycles of garbage, put off while a trace or a graph is made, and rare in a process of our own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Objects made and not yet gone, searches of those of the youngest generation, and of the middle one; Python's own are
# 700, 10 and 10.
_RARELY = (50_000, 20, 100)


def search_rarely() -> None:
    """Has a process that runs one command search for garbage seldom.

    Torch and what is imported with it are some hundred thousand objects that stay, among which every search finds
    nothing: `neurokit export spiking_cnn` took 9.2 s of CPU with Python's own intervals and takes 6.9 (medians of three
    runs in turn), at the same peak of memory.
    """
    gc.set_threshold(*_RARELY)


@contextmanager
def put_off() -> Iterator[None]:
    """Runs what makes a great many small objects that stay without the search for garbage among them.

    A trace and an ONNX graph are hundreds of thousands of objects that refer to each other and live to the end; the
    collector walks them again and again and finds nothing, for a fifth of the time. What is left behind is found by
    the first search after it.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
