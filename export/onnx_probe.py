"""Opens an ONNX artifact for verification: its own spikes shown, or the reference's spikes fed in at every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.export.onnx_functions import DOMAIN

if TYPE_CHECKING:
    import onnx

    from neurokit.artifact import Artifact


class OnnxProbe:
    """Runs one ONNX artifact in the three ways that verification asks for.

    Args:
        artifact: The artifact.
        level: ONNX Runtime's graph optimisation level, 0 (none) to 3 (all).
        threads: Threads within an operator.
    """

    has_levels = True

    def __init__(self, artifact: Artifact, level: int = 3, threads: int = 0) -> None:
        import onnx

        self._options = (level, threads)
        self._step = artifact.manifest.form == "step"
        self._states = artifact.manifest.states
        self._input = artifact.manifest.inputs[0].name
        self._outputs = [output.name for output in artifact.manifest.outputs]
        self._time_steps = artifact.manifest.time_steps
        info = artifact.manifest.target_info
        self._image, self._time_output = info.get("time_input") == "image", info.get("time_output", "")
        try:
            self._model = onnx.load(str(artifact.file("model.onnx")))
        except Exception as error:
            raise ArtifactError(f"{artifact.path}: model.onnx cannot be read: {error}") from error
        self._calls = [node for node in self._model.graph.node if node.domain == DOMAIN]
        self._neurons: dict[int, Any] = {}

    def layers(self) -> list[str]:
        """Returns the module path of every neuron call, in the order of the graph."""
        return [_path(node) for node in self._calls]

    def can_force(self) -> bool:
        """Whether every state of the model belongs to a neuron call (decomposed neurons cannot be forced)."""
        return not self._step or len(self._states) == len(self._calls)

    def free(self, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs a sequence as it is; returns the outputs over time and every layer's spikes `[T, B, ...]`."""
        model = self._copy()
        known = {output.name for output in model.graph.output}
        spikes = [node.output[0] for node in self._calls]
        for node in self._calls:
            if node.output[0] not in known:
                model.graph.output.append(_value(node.output[0], _element_type(model, node)))
        session = self._session(model)
        wanted = self._outputs + spikes
        if not self._step:
            results = session.run(wanted, {self._input: x})
            return results[: len(self._outputs)], results[len(self._outputs) :]
        states = initial_states(self._states, int(self._steps(x)[0].shape[0]))
        names = [state.output for state in self._states]
        steps = []
        for x_t in self._steps(x):
            results = session.run(wanted + names, {self._input: x_t, **states})
            states = {s.input: value for s, value in zip(self._states, results[len(wanted) :], strict=True)}
            steps.append(results[: len(wanted)])
        stacked = [np.stack(values) for values in zip(*steps, strict=True)]
        return self._split(stacked, len(self._outputs))

    def currents(self, x: np.ndarray, spikes: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs with the reference's spikes in place of every layer's own.

        Returns:
            The outputs, and the input current `[T, B, ...]` of every layer.
        """
        model = self._copy()
        graph = model.graph
        calls = [node for node in graph.node if node.domain == DOMAIN]
        for index, node in enumerate(calls):
            forced = f"neurokit.forced.{index}"
            for user in graph.node:
                user.input[:] = [forced if name == node.output[0] else name for name in user.input]
            for output in graph.output:
                if output.name == node.output[0]:  # the network's output is this layer's spikes
                    identity = graph.node.add(op_type="Identity", input=[forced], output=["neurokit.output"])
                    identity.name = "neurokit.output"
                    output.name = "neurokit.output"
            graph.input.append(_value(forced, _element_type(model, node)))
            graph.output.append(_value(f"neurokit.current.{index}", _element_type(model, node)))
            graph.node.add(op_type="Identity", input=[node.input[0]], output=[f"neurokit.current.{index}"])
        outputs = [o.name for o in self._model.graph.output if o.name in self._outputs]
        renamed = ["neurokit.output" if name in {c.output[0] for c in calls} else name for name in outputs]
        _drop(graph, {state.output for state in self._states})
        _drop_calls(graph, calls, {state.input for state in self._states})
        session = self._session(model)
        wanted = renamed + [f"neurokit.current.{index}" for index in range(len(calls))]
        if not self._step:
            feeds = {f"neurokit.forced.{i}": value for i, value in enumerate(spikes)}
            results = session.run(wanted, {self._input: x, **feeds})
            return results[: len(renamed)], results[len(renamed) :]
        steps = []
        for t, x_t in enumerate(self._steps(x)):
            feeds = {f"neurokit.forced.{i}": value[t : t + 1] for i, value in enumerate(spikes)}
            steps.append(session.run(wanted, {self._input: x_t, **feeds}))
        stacked = [np.stack(values) for values in zip(*steps, strict=True)]
        return self._split(stacked, len(renamed))

    def fire(self, index: int, current: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs one layer's own neuron code for every time step at once, each from its own given membrane.

        Args:
            index: Which neuron call.
            current: Input current, `[T, B, ...]`.
            before: Membrane before each step, `[T, B, ...]`.

        Returns:
            Spikes and membranes after each step, both `[T, B, ...]`.
        """
        session = self._neurons.get(index) or self._neuron_session(index)
        self._neurons[index] = session
        spikes, after = session.run(None, {"x": current.reshape(1, -1), "v0": before.reshape(-1)})
        return spikes.reshape(current.shape), after.reshape(current.shape)

    def _neuron_session(self, index: int) -> Any:
        """Returns a model of one neuron call alone, with its scalars as they stand in the artifact."""
        import onnx
        from onnx import helper

        node = onnx.NodeProto()
        node.CopyFrom(self._calls[index])
        element = _element_type(self._model, node)
        constants = [t for t in self._model.graph.initializer if t.name in node.input[2:]]
        node.input[0], node.input[1] = "x", "v0"
        node.output[0], node.output[1] = "spikes", "v"
        graph = helper.make_graph(
            [node], "neuron", [_value("x", element, [1, "N"]), _value("v0", element, ["N"])],
            [_value("spikes", element), _value("v", element)], constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=self._model.opset_import, functions=self._model.functions)
        model.ir_version = self._model.ir_version
        return self._session(model)

    def _steps(self, x: np.ndarray) -> list[np.ndarray]:
        """Returns the input of every step; a model that repeats an image sees it at each of them."""
        return [x] * int(self._time_steps or 1) if self._image else list(x)

    def _split(self, stacked: list[np.ndarray], count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the outputs, reduced over time as the sequence form does inside, and the layers' values."""
        outputs = [reduce_steps(value, self._time_output) for value in stacked[:count]]
        return outputs, [value.reshape(value.shape[0], *value.shape[2:]) for value in stacked[count:]]

    def _copy(self) -> onnx.ModelProto:
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        return model

    def _session(self, model: onnx.ModelProto) -> Any:
        from neurokit.export.ort import new_session

        level, threads = self._options
        return new_session(model, level=level, threads=threads)


def initial_states(states: Any, batch: int) -> dict[str, np.ndarray]:
    """Returns every state's initial value, by the name of its input (states as a manifest lists them)."""
    feeds = {}
    for state in states:
        shape = [size if isinstance(size, int) else _size(size, batch) for size in state.shape]
        feeds[state.input] = np.full(shape, state.init, dtype=state.dtype)
    return feeds


def _size(symbol: str, batch: int) -> int:
    """Evaluates "B" or "3*B"."""
    factor, _, _ = symbol.rpartition("*")
    return int(factor or 1) * batch


def _path(node: Any) -> str:
    for entry in node.metadata_props:
        if entry.key == "neurokit.path":
            return str(entry.value)
    return str(node.name)


def _element_type(model: Any, node: Any) -> int:
    """Returns the element type a neuron call works in: that of its threshold."""
    for tensor in model.graph.initializer:
        if tensor.name in node.input[2:]:
            return int(tensor.data_type)
    return 1


def _value(name: str, element: int = 1, shape: list[int | str] | None = None) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, element, shape)


def _drop(graph: Any, outputs: set[str]) -> None:
    for value in [v for v in graph.output if v.name in outputs]:
        graph.output.remove(value)


def _drop_calls(graph: Any, calls: list[Any], inputs: set[str]) -> None:
    """Removes neuron calls that nobody listens to any more, and the state inputs that only they read."""
    for node in calls:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for value in [v for v in graph.input if v.name in inputs and v.name not in used]:
        graph.input.remove(value)


def reduce_steps(steps: np.ndarray, time_output: str) -> np.ndarray:
    """Returns what a sequence form puts out, from the outputs of its steps `[T, B, ...]`.

    Args:
        steps: One output a step.
        time_output: "mean", "sum" or "last"; anything else keeps the steps.
    """
    if time_output == "last":
        return steps[-1]
    if time_output not in ("mean", "sum"):
        return steps
    total = steps.sum(axis=0, dtype=steps.dtype)
    return total / steps.dtype.type(len(steps)) if time_output == "mean" else total
