"""Ends a command whose runtime does not come back: one call of a library cannot be stopped, nor Ctrl-C be heard in it.

A graph may hold one operator that takes hours (a product of two matrices made of nothing), and ONNX Runtime may compute
it while it opens the file. How long a call may take is not known beforehand, so the limit is wide, and grows with the
model and its inputs. A process that is not the user's own (a notebook's, say) is never ended.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from neurokit.errors import ArtifactError

if TYPE_CHECKING:
    from neurokit.artifact import Artifact

End = Callable[[ArtifactError], None]

_LIBRARIES = ("onnxruntime", "openvino", "ai_edge_litert")
FIRST_S = 60.0
S_PER_MB = 2.0  # of an artifact's files
S_PER_MILLION = 100.0  # of numbers that one sample's inputs hold
_LOOK_S = 1.0

_watch: Watch | None = None


class Watch:
    """Looks now and then whether the main thread is in the same call of a library as before.

    Args:
        end: Ends the process, given what to say.
        look_s: Seconds between two looks.

    Attributes:
        limit_s: How long one call may take.
    """

    def __init__(self, end: End, look_s: float = _LOOK_S) -> None:
        self.limit_s = math.inf
        self._end, self._look_s = end, look_s
        self._main = threading.main_thread().ident
        self._call: tuple[FrameType, int] | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="neurokit-stuck", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops looking."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._look_s):
            library = self._stuck()
            if library:
                self._end(_said(library, self.limit_s))

    def _stuck(self) -> str:
        """Returns the library whose one call takes longer than the limit, or ""."""
        frame = sys._current_frames().get(self._main or 0)
        if frame is None:
            return ""
        # The frame is kept, so that the next call's cannot be taken for it.
        if self._call is None or frame is not self._call[0] or frame.f_lasti != self._call[1]:
            self._call, self._since = (frame, frame.f_lasti), time.monotonic()
            return ""
        if time.monotonic() - self._since <= self.limit_s:
            return ""
        parts = frame.f_code.co_filename.replace(os.sep, "/").split("/")
        return next((name for name in _LIBRARIES if name in parts), "")


def watch(end: End | None = None) -> None:
    """Begins to look after this process, which is a command's own.

    Args:
        end: Ends the process, given what to say.
    """
    global _watch
    if _watch is None:
        _watch = Watch(end or _end)


@contextmanager
def allowing(artifact: Artifact, batch: int = 1) -> Iterator[None]:
    """Sets how long one call may take in a block, where this process is looked after.

    Args:
        artifact: What is called.
        batch: Samples a call.
    """
    if _watch is None:
        yield
        return
    said = artifact.manifest
    numbers = batch * sum(math.prod(size for size in port.shape if isinstance(size, int)) for port in said.inputs)
    size = sum(info.bytes for info in said.files.values())
    before = _watch.limit_s
    _watch.limit_s = FIRST_S + S_PER_MB * size / 1e6 + S_PER_MILLION * numbers / 1e6
    try:
        yield
    finally:
        _watch.limit_s = before


def _end(error: ArtifactError) -> None:
    lines = f"error: {error.what}", f"expected: {error.expected}", f"fix: {error.fix}"
    os.write(2, ("\n".join(lines) + "\n").encode())  # another thread's streams may be locked
    os._exit(error.exit_code)


def _said(library: str, limit_s: float) -> ArtifactError:
    return ArtifactError(
        f"one call of {library} has not ended for {limit_s:.0f} s, and cannot be stopped: an operator is too large",
        expected="a model whose calls end within the time that its size and its inputs explain",
        fix="export the model again, or give fewer steps and samples a call",
    )
