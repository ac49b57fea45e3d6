"""What torch asks anew at every step of a trace or a decomposition and what cannot change meanwhile, asked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from torch._export import utils
from torch._subclasses.fake_tensor import FakeTensorMode


@contextmanager
def asked_once() -> Iterator[None]:
    """Asks once for the GPUs of this machine and for the operations that C++ registered.

    Torch asks for GPUs whenever it makes a tensor without data, and once Lightning is imported that opens the driver's
    library anew. It looks up each of C++'s composite operations once for every namespace of operators, several times a
    decomposition. Where the torch that is installed has no such places any more, it asks as before.
    """
    asks_for_gpus = FakeTensorMode.__dict__.get("avoid_device_init")
    look_up = getattr(utils, "_materialize_cpp_cia_ops", None)
    if not isinstance(asks_for_gpus, property) or asks_for_gpus.fget is None or look_up is None:
        yield
        return
    mode: Any = FakeTensorMode
    place: Any = utils
    mode.avoid_device_init = property(_once_for_all(asks_for_gpus.fget))
    place._materialize_cpp_cia_ops = cache(look_up)
    try:
        yield
    finally:
        mode.avoid_device_init, place._materialize_cpp_cia_ops = asks_for_gpus, look_up


def _once_for_all(ask: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Returns what asks for the first object and gives the same answer for all: it is the machine's, not theirs."""
    known: list[bool] = []

    def answer(owner: Any) -> bool:
        if not known:
            known.append(ask(owner))
        return known[0]

    return answer
