"""A neuron's own code alone: models of one call, with its scalars as they stand in the artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neurokit.errors import ArtifactError, NeurokitError
from neurokit.export.onnx.probe_graph import element_type, element_types, held, is_step, value_info


class NeuronSessions:
    """Opens models of single neuron calls, each once.

    Args:
        model: The model that the calls are of.
        single: Whether a call takes one step.
        open_session: Opens a model in the runtime.
    """

    def __init__(self, model: Any, single: bool, open_session: Callable[[Any], Any]) -> None:
        self._model, self._single, self._open = model, single, open_session
        self._sessions: dict[Any, Any] = {}

    def run(self, node: Any, current: np.ndarray, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs a common neuron over time: current `[T, N]`, membrane `[N]`; returns spikes and the last membrane."""
        session, what = self._session(node, [["T", "N"], ["N"]]), f"the neuron {node.name!r}"
        if not self._single:
            spikes, v = results_of(session, None, {"x": current, "s0": v0}, what)
            return spikes, v
        steps, v = [], v0
        for t in range(len(current)):
            spikes, v = results_of(session, None, {"x": current[t : t + 1], "s0": v}, what)
            v = v.reshape(v0.shape)
            steps.append(spikes.reshape(v0.shape))
        return np.stack(steps), v

    def run_steps(
        self, node: Any, current: np.ndarray, states: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Runs a rare neuron over time: current `[T, B, ...]`, states `[B, ...]`; returns outputs and last states."""
        batch = current.shape[1]
        free = [["B" if size == batch else size, *sizes] for size, *sizes in (state.shape for state in states)]
        session, outputs = self._session(node, [["T", "B", *current.shape[2:]], *free]), []
        calls = [current[t : t + 1] for t in range(len(current))] if self._single else [current]
        for x in calls:
            given = {f"s{k}": np.ascontiguousarray(state) for k, state in enumerate(states)}
            feeds = {"x": np.ascontiguousarray(x), **given}
            y, *after = results_of(session, None, feeds, f"the step of {node.name!r}")
            states = tuple(after)
            outputs.append(y)
        return np.concatenate(outputs), tuple(states)

    def _session(self, node: Any, shapes: list[list[Any]]) -> Any:
        # Equal neurons are one session: the same function of the same numbers.
        known = {t.name: t for t in self._model.graph.initializer if t.name in node.input[1 + len(held(node)) :]}
        numbers = [
            _content(known[name]) if name in known else name.encode() for name in node.input[1 + len(held(node)) :]
        ]
        settings = tuple(a.SerializeToString(deterministic=True) for a in node.attribute)
        key = (node.op_type, element_type(self._model, node), tuple(numbers), settings, str(shapes))
        if key not in self._sessions:
            self._sessions[key] = self._open(self._alone(node, shapes))
        return self._sessions[key]

    def _alone(self, node: Any, shapes: list[list[Any]]) -> Any:
        """Returns a model of one call: `x` and states `s0`, `s1` ... to its outputs."""
        import onnx
        from onnx import helper

        step, count = is_step(node), len(held(node))
        kinds = element_types(node) if step else [element_type(self._model, node)] * 2
        call = onnx.NodeProto()
        call.CopyFrom(node)
        call.input[: 1 + count] = ["x", *(f"s{k}" for k in range(count))]
        call.output[:] = [f"y{k}" for k in range(1 + count)]
        inputs = [value_info(*each) for each in zip(call.input[: 1 + count], kinds, shapes, strict=True)]
        results = [value_info(*each) for each in zip(call.output, kinds, strict=True)]
        constants = [t for t in self._model.graph.initializer if t.name in node.input[1 + count :]]
        graph = helper.make_graph([call], "neuron", inputs, results, constants)
        model = helper.make_model(graph, opset_imports=self._model.opset_import, functions=self._model.functions)
        model.ir_version = self._model.ir_version
        return model


def results_of(
    session: Any, names: list[str] | None, feeds: Mapping[str, np.ndarray], what: str = "the model"
) -> list[np.ndarray]:
    """Returns what a session of ONNX Runtime gives.

    Raises:
        ArtifactError: If it does not run, in a line.
    """
    try:
        results: list[np.ndarray] = session.run(names, feeds)
    except NeurokitError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base
        first = str(error).strip().splitlines()[0]
        raise ArtifactError(f"ONNX Runtime cannot run {what}: {first[:300]}") from error
    return results


def _content(tensor: Any) -> bytes:
    from onnx import numpy_helper

    return bytes(numpy_helper.to_array(tensor).tobytes())
