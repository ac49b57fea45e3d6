"""Times of attention and of its opponents in milliseconds; what does not run is its reason."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from attention import COMPILING, bounded
from gpu_timing import graph_time


def reason(error: BaseException) -> str:
    """Returns an error as one line."""
    torch.cuda.synchronize()
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:140]}"


def timed(work: Callable[[], Any]) -> float | str:
    """Returns milliseconds of a call, its compilation not included, or why there are none."""
    try:
        with bounded(COMPILING):
            work()
            torch.cuda.synchronize()
        try:
            return graph_time(work, replays=5) * 1e3
        except Exception:  # a host synchronisation inside: no graph can hold it
            torch.cuda.synchronize()
            return eager_time(work)
    except Exception as error:
        return reason(error)


def eager_time(work: Callable[[], Any], runs: int = 5) -> float:
    """Returns the median milliseconds of single calls, launches included."""
    times = []
    for _ in range(runs):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        work()
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last))
    return statistics.median(times)


def compared(work: Callable[[], Any], wanted: torch.Tensor, name: str) -> dict[str, Any]:
    """Returns the time of an opponent and how far it is from what is wanted."""
    try:
        with bounded(COMPILING):
            off = float((work().float() - wanted.float()).abs().max())
    except Exception as error:
        return {f"{name}_ms": reason(error)}
    return {f"{name}_ms": timed(work), f"{name}_differs_by": off}


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> dict[str, Any]:
    """Returns the time of every backend of SDPA, and the best as "sdpa_ms"."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    found: dict[str, Any] = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        with sdpa_kernel(backend):
            causal = q.shape[2] > 1
            run = partial(F.scaled_dot_product_attention, q, k, v, is_causal=causal, enable_gqa=True)
            found[f"sdpa_{backend.name.split('_')[0].lower()}_ms"] = timed(run)
    times = [ms for ms in found.values() if isinstance(ms, float)]
    return {**found, "sdpa_ms": min(times) if times else "no backend ran"}
