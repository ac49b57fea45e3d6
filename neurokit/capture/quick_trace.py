"""torch.export without what takes it long and changes nothing: one context for every trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from neurokit.capture.asked_once import asked_once
from neurokit.capture.lstm_states import lstm_states
from neurokit.capture.quick_shapes import quick_shapes
from neurokit.capture.quick_sums import quick_sums
from neurokit.capture.unannotated import unannotated


@contextmanager
def quick_trace(lines: bool = False) -> Iterator[None]:
    """Traces without notes that nobody reads, and with short ways through shapes and sums of free sizes.

    Args:
        lines: Whether each node keeps, for its stack trace, the one line of the user's code that called it.
    """
    with asked_once(), unannotated(lines), quick_shapes(), quick_sums(), lstm_states():
        yield
