"""How the engine's loops are compiled: for one thread, and for several once they are asked for."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numba


def on_threads(function: Callable[..., None]) -> Callable[..., None]:
    """Compiles a loop over `prange`; a call runs on as many threads as numba is set to.

    A parallel loop is compiled a second time inside of the first, which takes as long again. One thread, which an
    engine has unless it is told otherwise, needs none of that.

    Args:
        function: The loop. It writes to its arguments and returns nothing.
    """
    # The name is that of the file in which numba keeps what it compiled: two of them.
    single = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    single.__qualname__ = f"{function.__qualname__}_single"
    single.__module__ = function.__module__
    alone = numba.njit(cache=True, nogil=True)(single)
    together = numba.njit(cache=True, nogil=True, parallel=True)(function)

    @functools.wraps(function)
    def run(*args: Any) -> None:
        (together if numba.get_num_threads() > 1 else alone)(*args)

    return run
