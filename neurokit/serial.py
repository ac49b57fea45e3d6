"""Captures and lowerings run one at a time, whatever thread asks: torch.export changes state of the whole process."""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from neurokit.quiet import libraries_unsaid

P = ParamSpec("P")
R = TypeVar("R")

_NAME = "neurokit-capture"


class _Turn:
    """A lock, and the thread in which calls from other threads than the main one run.

    torch keeps the modes of a trace in the thread that first ran one, and a later trace reads them: a thread that has
    ended since leaves a dangling pointer. This one lives as long as the process does, like the main thread.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Starts afresh: a forked process has neither the thread nor the holder of the lock."""
        self.lock = threading.RLock()
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_NAME)


_turn = _Turn()
os.register_at_fork(after_in_child=_turn.renew)


def one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Makes calls from other threads wait until this one, and any other function marked so, has ended.

    What torch and onnx_ir would log of a refusal meanwhile is left unsaid: the error says it.
    """

    def in_turn(*args: P.args, **kwargs: P.kwargs) -> R:
        with _turn.lock, libraries_unsaid():
            return function(*args, **kwargs)

    @functools.wraps(function)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        here = threading.current_thread()
        if here is threading.main_thread() or here.name.startswith(_NAME):
            return in_turn(*args, **kwargs)
        context = contextvars.copy_context()
        return _turn.worker.submit(lambda: context.run(in_turn, *args, **kwargs)).result()

    return waiting
