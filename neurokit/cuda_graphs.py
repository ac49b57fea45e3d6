"""Recording of CUDA graphs that leaves the process as it was where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def recorded(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """Records what the context launches into a graph.

    A recording that fails leaves two things behind in PyTorch 2.11: the stream that it was made on is the current one,
    and the GPU's random numbers count as recorded ("Offset increment outside graph capture encountered unexpectedly"
    of whatever draws one later). Both are put back.

    Args:
        graph: A new graph.

    Raises:
        RuntimeError: If something cannot be recorded, such as waiting for the GPU.
    """
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    before = generator.clone_state()
    try:
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            yield
    except BaseException:
        generator.graphsafe_set_state(before)
        raise
