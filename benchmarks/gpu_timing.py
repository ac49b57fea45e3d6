"""Times GPU work by replaying it from a CUDA graph, so that launch overhead of the host is not in the figure."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch


def graph_time(work: Callable[[], Any], target_ms: float = 12.0, replays: int = 7) -> float:
    """Returns the median time of one call, in seconds.

    As many calls as fill about `target_ms` are captured into one graph; the graph is replayed `replays` times. Calls
    follow each other on the same inputs: what fits into the 60 MB L2 of an H200 is read from there.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
        work()
        stream.synchronize()
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        once = torch.cuda.CUDAGraph()
        with torch.cuda.graph(once, stream=stream):
            work()
        once.replay()
        first.record()
        once.replay()
        last.record()
        stream.synchronize()
        calls = max(1, min(100, int(target_ms / max(first.elapsed_time(last), 1e-3))))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(calls):
                work()
        graph.replay()
        times = []
        for _ in range(replays):
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            graph.replay()
            last.record()
            stream.synchronize()
            times.append(first.elapsed_time(last) / calls)
    torch.cuda.current_stream().wait_stream(stream)
    return statistics.median(times) * 1e-3
