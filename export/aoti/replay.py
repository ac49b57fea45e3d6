"""Replays calls of a compiled model from CUDA graphs: one launch a call, whatever its number of kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_KEPT = 4  # recorded graphs: each holds its inputs, outputs and everything between in memory


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]


class Replayed:
    """A model on a GPU, called with tensors of that GPU by one thread at a time.

    The first call with inputs of some shapes runs the model; the second records it, and every further one is replayed.
    Where recording fails, the model is called from then on.

    Args:
        model: Takes tensors, returns a sequence of tensors, and launches on the current stream.

    Attributes:
        model: The same.
        refusal: Why nothing is recorded, "" while it may be.
    """

    def __init__(self, model: Callable[..., Sequence[torch.Tensor]]) -> None:
        self.model = model
        self._recorded: dict[Any, _Recorded | None] = {}
        self.refusal = ""

    @property
    def replays(self) -> bool:
        """Whether a graph was recorded."""
        return any(one is not None for one in self._recorded.values())

    def __call__(self, *given: torch.Tensor) -> Sequence[torch.Tensor]:
        """Runs the model; the outputs are the caller's own."""
        key = tuple((tuple(x.shape), x.dtype) for x in given)
        if self.refusal or key not in self._recorded:
            self._recorded.setdefault(key, None)
            while len(self._recorded) > _KEPT:
                self._recorded.pop(next(iter(self._recorded)))
            return self.model(*given)
        kept = self._recorded[key] or self._record(key, given)
        if kept is None:
            return self.model(*given)
        for place, x in zip(kept.inputs, given, strict=True):
            place.copy_(x)
        kept.graph.replay()
        return [y.clone() for y in kept.outputs]

    def _record(self, key: Any, given: Sequence[torch.Tensor]) -> _Recorded | None:
        import torch

        from neurokit.cuda_graphs import recorded

        inputs = tuple(x.clone() for x in given)
        graph = torch.cuda.CUDAGraph()
        try:
            torch.cuda.synchronize()
            with recorded(graph):
                outputs = tuple(self.model(*inputs))
        except RuntimeError as error:  # an operator that waits for the host, or a library that cannot be recorded
            self.refusal = str(error).strip().splitlines()[0]
            return None
        self._recorded[key] = _Recorded(graph, inputs, outputs)
        return self._recorded[key]
