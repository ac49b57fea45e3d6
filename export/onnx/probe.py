"""Opens an ONNX artifact for verification: its own spikes shown, or the reference's spikes fed in at every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, damaged
from neurokit.export.onnx.neuron_sessions import NeuronSessions, results_of
from neurokit.export.onnx.probe_graph import (
    drop,
    drop_calls,
    element_type,
    force,
    held,
    is_layer,
    is_step,
    path,
    value_info,
)
from neurokit.export.sequence import initial_states, reduce_steps
from neurokit.feeds import repeated
from neurokit.over_time import of_each
from neurokit.target import Probe

if TYPE_CHECKING:
    import onnx

    from neurokit.artifact import Artifact
    from neurokit.export.ort import OnnxRunner
    from neurokit.parity.vectors import Vectors


class OnnxProbe(Probe):
    """Runs one ONNX artifact in the ways that verification asks for.

    Args:
        artifact: The artifact.
        level: ONNX Runtime's graph optimisation level, 0 (none) to 3 (all).
        threads: Threads within an operator.
    """

    has_levels = True

    def __init__(self, artifact: Artifact, level: int = 3, threads: int = 0) -> None:
        import onnx

        from neurokit.export.onnx.agree import hold_against_graph, of_model
        from neurokit.export.onnx.same_graph import hold_flat

        self._options = (level, threads)
        self._artifact = artifact
        self._step = artifact.manifest.form == "step"
        self._states = artifact.manifest.states
        self._outputs = [output.name for output in artifact.manifest.outputs]
        self._time_steps = artifact.manifest.time_steps
        info = artifact.manifest.target_info
        self._image, self._time_output = info.get("time_input") == "image", info.get("time_output", "")
        models = []
        for graph in artifact.manifest.graphs:
            file = graph.file or "model.onnx"
            try:
                models.append(onnx.load(str(artifact.file(file))))
            except Exception as error:
                raise ArtifactError(f"{artifact.path}: {file} cannot be read: {error}") from error
            hold_against_graph(artifact, graph, of_model(models[-1]))
            if (flat := self._flat_file(file, graph.name)) in artifact.manifest.files:
                hold_flat(artifact, models[-1], flat)
        self._model = models[0]
        self._calls = [node for node in self._model.graph.node if is_layer(node)]
        # A neuron in a loop is called once a step: its calls are one layer.
        self._of_layer: dict[str, list[int]] = {}
        for index, node in enumerate(self._calls):
            self._of_layer.setdefault(path(node), []).append(index)
        shown = {name.partition("@")[0] for name in self._of_layer}
        self._hidden = {neuron.path for neuron in artifact.manifest.neurons if neuron.op == "decomposed"} - shown
        self._hides = False
        self._neurons = NeuronSessions(self._model, self._step, self._session)
        self._free_session: Any = None
        self._held: dict[str, np.ndarray] = {}
        self._last: dict[str, np.ndarray] = {}
        self._before: list[dict[str, np.ndarray]] = []
        self._values: list[dict[str, np.ndarray]] = []  # of membranes before calls, of every step of the last free run
        self._kept_starts: list[tuple[np.ndarray | None, ...]] | None = []
        self._forced_session: Any = None

    def _flat_file(self, file: str, graph: str) -> str:
        """Returns the name of the file in plain operators beside a graph's, which need not be there."""
        return f"{file.removesuffix('.onnx')}.flat.onnx"

    def runner(self) -> OnnxRunner:
        """Opens the files in ONNX Runtime; of an engine the network that it was made of."""
        from neurokit.export.ort import OnnxRunner

        level, threads = self._options
        return OnnxRunner(self._artifact, level=level, threads=threads)

    def layers(self) -> list[str]:
        """Returns the module path of every neuron layer, in the order of the graph."""
        return list(self._of_layer)

    def can_force(self) -> bool:
        """Whether every neuron is a call that can be given the reference's spikes."""
        stateful = self._step and any(state.neuron in self._hidden for state in self._states)
        return not stateful and not self._hides

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors of the layers that can be seen: those inside a scan cannot.

        Raises:
            ArtifactError: If the graph has no call of a neuron that must be one.
        """
        if len(self._artifact.manifest.graphs) == 1:
            self._hold_calls(vectors)
        shown = vectors.shown(self._of_layer)
        if not shown.hidden:
            return replace(vectors, hidden=len(self._hidden)) if self._hidden else vectors
        self._hides = True
        note = f"{shown.hidden} neuron layer(s) run inside a loop over a free T: compared by what follows them"
        known = {layer.path.partition("@")[0] for layer in vectors.layers}
        first = shown.hidden_from if self._hidden <= known else 0
        return replace(shown, hidden_from=first, notes=(*vectors.notes, note))

    def _hold_calls(self, vectors: Vectors) -> None:
        """Refuses a graph without the call of a neuron that is one: a loop over a free T alone takes such apart.

        Equal neurons on one current are one call, and what no output depends on may be none.
        """
        shown = {name.partition("@")[0] for name in self._of_layer}
        seen = [layer for layer in vectors.layers if layer.path in self._of_layer]
        apart = {neuron.path for neuron in self._artifact.manifest.neurons if neuron.op == "decomposed"}
        whole = {layer.path for layer in vectors.layers} if self._time_steps != "dynamic" and not self._step else set()
        left = {neuron.path for neuron in self._artifact.manifest.neurons} - (apart - whole)
        equal = {layer.path for layer in vectors.layers if any(layer.fires_as(other) for other in seen)}
        for name in sorted(left - equal - set(vectors.idle)):
            if name.partition("@")[0] not in shown:
                raise damaged(self._artifact.path, f"model.onnx has no call of the neuron {name!r}")

    def free(self, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs whole inputs by name; returns the outputs over time and every layer's spikes `[T, B, ...]`."""
        spikes = [node.output[0] for node in self._calls]
        session = self._free_session = self._free_session or self._new_free_session()
        computed = self._computed_membranes()
        wanted, count = self._outputs + spikes + computed, len(self._outputs)
        if not self._step:
            results = results_of(session, wanted, dict(feeds))
            self._values = [dict(zip(computed, results[count + len(spikes) :], strict=True))]
            self._kept_starts = None
            return results[:count], self._joined(results[count : count + len(spikes)])
        outputs, values = self._streamed(session, wanted, count, feeds, self._states)
        self._last, more = self._held, dict(zip(computed, values[len(spikes) :], strict=False))
        self._values = [held | {name: value[t] for name, value in more.items()} for t, held in enumerate(self._before)]
        self._kept_starts = None
        return outputs, self._interleaved(values[: len(spikes)])

    def _computed_membranes(self) -> list[str]:
        """Returns the names of the membranes before calls that nodes of the graph compute; others are given to it."""
        computed = {name for node in self._model.graph.node for name in node.output}
        return [name for name in dict.fromkeys(n for node in self._calls for n in held(node)) if name in computed]

    @property
    def _starts(self) -> list[tuple[np.ndarray | None, ...]]:
        """Every layer's states before its calls in the last free run, `[calls, B, ...]`, made when asked for."""
        if self._kept_starts is None:
            self._kept_starts = self._known_starts(self._values)
        return self._kept_starts

    def _known_starts(self, steps: list[dict[str, np.ndarray]]) -> list[tuple[np.ndarray | None, ...]]:
        """Returns every layer's states before its calls, `[calls, B, ...]`, from the values of every step."""
        from onnx import numpy_helper

        names = {name for node in self._calls for name in held(node)}
        constants = {t.name: numpy_helper.to_array(t) for t in self._model.graph.initializer if t.name in names}
        known = [{**constants, **step} for step in steps]
        found = []
        for indices in self._of_layer.values():
            states = zip(*(held(self._calls[index]) for index in indices), strict=True)
            found.append(tuple(_stacked([step.get(name) for step in known for name in names]) for names in states))
        return found

    def initial_membranes(self) -> list[np.ndarray | None]:
        """Returns every layer's membranes before its calls in the last free run; of a step form before every step."""
        return [None if self._is_step(at) else states[0] for at, states in enumerate(self._starts)]

    def states_before(self, index: int) -> tuple[np.ndarray | None, ...]:
        """Returns a stepwise layer's states before its calls in the last free run; of a step form before every step."""
        return self._starts[index] if self._starts else ()

    def _is_step(self, index: int) -> bool:
        return is_step(self._calls[list(self._of_layer.values())[index][0]])

    def membranes(self) -> list[np.ndarray | None]:
        """Returns every layer's membrane after the last free run: that of a step form is a state outside of it."""
        names: dict[str, list[str]] = {}
        for state in self._states:
            names.setdefault(state.neuron, []).append(state.input)
        single = [names.get(path, []) for path in self._of_layer]
        return [self._last.get(found[0]) if len(found) == 1 else None for found in single] if self._step else []

    def _new_free_session(self) -> Any:
        """Returns a session of the model as it is, with every call's spikes and membrane before it as outputs."""
        model = self._copy()
        known = {output.name for output in model.graph.output}
        computed = set(self._computed_membranes())
        for node in self._calls:
            for name in (node.output[0], *held(node)):
                if name not in known and (name == node.output[0] or name in computed):
                    model.graph.output.append(value_info(name, element_type(model, node)))
                    known.add(name)
        return self._session(model)

    def currents(
        self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs with the reference's spikes in place of every layer's own.

        Returns:
            The outputs, and the input current `[T, B, ...]` of every layer.
        """
        session, outputs, kept, renamed = self._forced_session = self._forced_session or self._new_forced_session()
        wanted = outputs + [f"neurokit.current.{index}" for index in range(len(self._calls))]
        if not self._step:
            results = results_of(session, wanted, {**feeds, **self._forced(spikes)})
            return results[: len(outputs)], self._joined(results[len(outputs) :])
        outputs, values = self._streamed(session, wanted, len(outputs), feeds, kept, self._typed(spikes), renamed)
        return outputs, self._interleaved(values)

    def _new_forced_session(self) -> tuple[Any, list[str], list[Any], dict[str, str]]:
        """Returns a session in which inputs stand for every layer's spikes, its outputs, kept states, new names."""
        model = self._copy()
        graph = model.graph
        calls = [node for node in graph.node if is_layer(node)]
        renamed: dict[str, str] = {}
        for index, node in enumerate(calls):
            force(model, index, node, renamed)
        drop_calls(graph, calls, self._states)
        left, computed = {value.name for value in graph.input}, {name for node in graph.node for name in node.output}
        kept = [state for state in self._states if state.input in left]  # of loops and delay lines
        drop(graph, {state.output for state in self._states if state not in kept or state.output not in computed})
        return self._session(model), [renamed.get(name, name) for name in self._outputs], kept, renamed

    def _streamed(
        self,
        session: Any,
        wanted: list[str],
        count: int,
        feeds: Mapping[str, np.ndarray],
        states: Any,
        spikes: list[np.ndarray] | None = None,
        renamed: Mapping[str, str] | None = None,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs the step form over all steps and hands its states on; the first `count` results are the outputs."""
        given = self._steps(feeds)
        batch = int(next(iter(given[0].values())).shape[0])
        held = initial_states(states, batch, self._artifact.manifest.graphs[0].dims, self._artifact.path)
        known = {output.name for output in session.get_outputs()}
        carried = [(s.input, (renamed or {}).get(s.output, s.output)) for s in states]
        carried = [(name, output) for name, output in carried if output in known]  # of others only the shape is read
        names = [output for _, output in carried]
        steps: list[list[np.ndarray]] = []
        self._before = []
        for t, step in enumerate(given):
            self._before.append(dict(held))
            forced = self._forced_at(t, spikes or [])
            results = results_of(session, wanted + names, {**step, **held, **forced})
            held |= {name: value for (name, _), value in zip(carried, results[len(wanted) :], strict=True)}
            steps.append(results[: len(wanted)])
        self._held = held
        if self._time_steps is None:  # one call of a model without time, from its initial states
            return steps[0][:count], []
        return self._split([np.stack(values) for values in zip(*steps, strict=True)], count)

    def _forced(self, spikes: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns what each call puts out instead of its own spikes: of a layer in a loop, one step each."""
        feeds = {}
        for indices, value in zip(self._of_layer.values(), self._typed(spikes), strict=True):
            for index, part in zip(indices, np.split(value, len(indices)), strict=True):
                feeds[f"neurokit.forced.{index}"] = part
        return feeds

    def _interleaved(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the values of every layer from those of every call of a step form, `[T, B, ...]` each."""
        layers = ([values[index] for index in indices] for indices in self._of_layer.values() if values)
        return [
            calls[0] if len(calls) == 1 else np.stack(calls, axis=1).reshape(-1, *calls[0].shape[1:])
            for calls in layers
        ]

    def _forced_at(self, t: int, spikes: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns what each call puts out at one step; a layer that a step calls several times has one step each."""
        feeds = {}
        for indices, value in zip(self._of_layer.values(), spikes, strict=False):
            for turn, index in enumerate(indices):
                at = t * len(indices) + turn
                feeds[f"neurokit.forced.{index}"] = value[at : at + 1]
        return feeds

    def _typed(self, spikes: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the spikes of every layer in the element type that its calls work in."""
        from onnx.helper import tensor_dtype_to_np_dtype

        kinds = [element_type(self._model, self._calls[indices[0]]) for indices in self._of_layer.values()]
        return [v.astype(tensor_dtype_to_np_dtype(kind), copy=False) for v, kind in zip(spikes, kinds, strict=True)]

    def _joined(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Returns values of every call as values of every layer."""
        layers = ([values[index] for index in indices] for indices in self._of_layer.values())
        return [calls[0] if len(calls) == 1 else np.concatenate(calls) for calls in layers]

    def run(self, index: int, current: np.ndarray, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs one layer's own neuron code alone over time.

        Args:
            index: Which layer; of one that is called several times, the first call.
            current: Input current, `[T, N]`.
            v0: Membrane before the first step, `[N]`.

        Returns:
            Spikes `[T, N]` and the membrane after the last step `[N]`.
        """
        return self._neurons.run(self._calls[list(self._of_layer.values())[index][0]], current, v0)

    def run_steps(
        self, index: int, current: np.ndarray, states: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Runs a stepwise layer's own code alone over time, `[T, B, ...]` from states `[B, ...]`."""
        return self._neurons.run_steps(self._calls[list(self._of_layer.values())[index][0]], current, states)

    def _steps(self, feeds: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Returns the inputs of every step; a model that repeats an image sees it at each of them."""
        if self._time_steps is None:
            return [dict(feeds)]
        if self._image:
            feeds = repeated(feeds, self._artifact.manifest.inputs, int(self._time_steps))
        return [dict(zip(feeds, values, strict=True)) for values in zip(*feeds.values(), strict=True)]

    def _split(self, stacked: list[np.ndarray], count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the outputs, reduced over time as the sequence form does inside, and the layers' values."""
        kinds = of_each(self._time_output, count)
        outputs = [reduce_steps(value, kind) for value, kind in zip(stacked, kinds, strict=False)]
        rest = stacked[count:]  # [T, 1, B, ...] of calls of one step, or [T, B, ...] of membranes
        calls = len(self._calls)
        return outputs, [v.reshape(v.shape[0], *v.shape[2:]) if at < calls else v for at, v in enumerate(rest)]

    def _copy(self) -> onnx.ModelProto:
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        return model

    def _session(self, model: onnx.ModelProto) -> Any:
        from neurokit.export.ort import new_session

        level, threads = self._options
        # Verifying is many short runs: threads that spin between them would take more time than the runs.
        return new_session(model, level=level, threads=threads, spinning=False)


def _stacked(values: list[np.ndarray | None]) -> np.ndarray | None:
    known = [value for value in values if value is not None]
    return np.stack(known) if known and len(known) == len(values) else None
