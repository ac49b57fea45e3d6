"""Python's search for cycles of garbage, put off while a trace or a graph is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
