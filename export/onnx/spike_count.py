"""A streaming artifact that says, step by step, how many spikes all of its neurons gave."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.artifact import Artifact


class SpikeCounter:
    """An artifact of the target `onnx-step` on ONNX Runtime, with the spikes of each step; a context manager.

    Args:
        artifact: The artifact: one image in, one output.
        threads: Threads within an operator; 0 leaves it to ONNX Runtime.

    Attributes:
        neurons: How many neurons one stream has.

    Raises:
        InputError: If it does not stream or has no neurons.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        import onnx

        from neurokit.export.onnx.observed import observed
        from neurokit.export.ort import new_session

        seen = observed(onnx.load(str(artifact.file("model.onnx"))))
        if artifact.manifest.form != "step" or not seen.spikes:
            raise InputError(f"{artifact.path} gives no spikes step by step", expected="an artifact of onnx-step")
        (self._graph,) = artifact.manifest.graphs
        self._folder = artifact.path
        self._session: Any = new_session(seen.model, threads=threads)
        self._states: dict[str, np.ndarray] = {}
        self.neurons = sum(_size(state.shape) for state in self._graph.states if state.neuron)
        self.reset()

    def reset(self, batch: int = 1) -> None:
        """Sets every membrane to where it starts, for `batch` streams."""
        from neurokit.export.sequence import initial_states

        self._states = initial_states(self._graph.states, batch, self._graph.dims, self._folder)

    def step(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """Runs one time step `[B, ...]` from the present state; returns the output, and the spikes of all streams."""
        from neurokit.export.onnx.observed import SPIKES

        wanted = [self._graph.outputs[0].name, SPIKES, *(state.output for state in self._graph.states)]
        scores, count, *states = self._session.run(wanted, {self._graph.inputs[0].name: x, **self._states})
        self._states = {state.input: value for state, value in zip(self._graph.states, states, strict=True)}
        return scores, int(count)

    def __enter__(self) -> SpikeCounter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None


def _size(shape: tuple[int | str, ...]) -> int:
    return int(np.prod([size for size in shape if isinstance(size, int)]))
