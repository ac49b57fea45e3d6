"""An LSTM's last states in a trace, as they are in a run: torch writes them with an axis too many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch._decomp.decompositions as place


@contextmanager
def lstm_states() -> Iterator[None]:
    """Traces and decomposes an LSTM with last states `[layers, B, hidden]`.

    Torch 2.11 takes the wrong axis of a layer's last states away, `squeeze(1)` of `[1, B, hidden]`: a program then says
    `[layers, 1, B, hidden]` of what is `[layers, B, hidden]` when it runs, and what reads `h_n` is another network or
    none. Where torch has no such place, or has mended it, nothing changes.
    """
    original: Any = getattr(place, "one_layer_lstm", None)
    if original is None:
        yield
        return

    def one_layer_lstm(inp: Any, hidden: Any, *more: Any, **named: Any) -> Any:
        out, last = original(inp, hidden, *more, **named)
        return out, tuple(value.flatten(0, 1) if value.dim() > 2 else value for value in last)

    changed: Any = place
    changed.one_layer_lstm = one_layer_lstm
    try:
        yield
    finally:
        changed.one_layer_lstm = original
