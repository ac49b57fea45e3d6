"""A training step that is recorded once as a CUDA graph and replayed: small networks wait for launches otherwise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurokit.cuda_graphs import recorded

_WARM = 3  # steps before the recording, in which libraries choose and compile their kernels


class Recorded:
    """Replays a step on batches of one size.

    Args:
        step: Takes inputs `[B, *shape]` and labels `[B]` (or None) on a GPU, and changes weights in place. It may not
            ask for values, and what it keeps from call to call has to lie in tensors.
        given: Inputs to record it with; the step is done on them a few times.
        labels: Their labels, or None.
    """

    def __init__(self, step: Callable[[Tensor, Tensor | None], None], given: Tensor, labels: Tensor | None) -> None:
        self._given = given.clone()
        self._labels = None if labels is None else labels.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM):
                step(self._given, self._labels)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with recorded(self._graph):
            step(self._given, self._labels)

    def __call__(self, given: Tensor, labels: Tensor | None) -> None:
        """Does the step on other inputs of the same sizes."""
        self._given.copy_(given)
        if self._labels is not None and labels is not None:
            self._labels.copy_(labels)
        self._graph.replay()
