"""Runs the rest of a command in a child process: native code of a runtime may end the process that it runs in.

ONNX Runtime does so for some damaged graphs (a state of a Scan that changes its shape ends in `std::terminate`), and no
exception of Python can be caught then. The process that waits says it in a line.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

from neurokit.errors import ArtifactError, NeurokitError

_NATIVE = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def child_status() -> int | NeurokitError | None:
    """Forks, before any thread runs and any library is loaded.

    Returns:
        In the child None: it goes on. In the process that waits, the child's exit status, or what to say of a child
        that native code has ended.
    """
    if not sys.platform.startswith("linux"):
        return None
    parent, child = os.getpid(), os.fork()
    if child == 0:
        with suppress(OSError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGKILL))
        if os.getppid() != parent:  # it was killed before that
            os._exit(128 + signal.SIGKILL)
        return None
    # Ctrl-C reaches both; the child tidies up and says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, _: os.kill(child, signum))
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ended if ended >= 0 else _ended_by(-ended)


def _ended_by(number: int) -> int | NeurokitError:
    if number not in _NATIVE:
        return 128 + number
    return ArtifactError(
        f"the process was ended by {signal.Signals(number).name} in native code of a runtime",
        expected="files that it can run",
        fix="export the model again; of files that are as they were exported, report it with what stands above",
    )
