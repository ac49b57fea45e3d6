"""Captures an inference into a CUDA graph, which replays all its launches at the cost of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def capture_graph(function: Callable[[Tensor], Any], example: Tensor) -> Callable[[Tensor], Any]:
    """Captures one call of a function of a tensor on the GPU.

    Args:
        function: What is captured; it is called twice before, so that everything is compiled and chosen.
        example: Its input; the shape and the strides are the graph's.

    Returns:
        A function that copies its input into the graph's, replays it, and returns the graph's own output, which the
        next call overwrites.
    """
    held = example.clone(memory_format=torch.preserve_format)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            function(held)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function(held)

    def replay(new: Tensor) -> Any:
        held.copy_(new)
        graph.replay()
        return result

    return replay
