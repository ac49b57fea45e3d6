"""Opens a package for verification: its own outputs, and its layers by a probing twin, compiled of the same program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.dims import as_size, evaluate, solve
from neurokit.export.aoti.programs import FORCE
from neurokit.export.aoti.roundings import in_16_bits
from neurokit.export.aoti.run import AotiRunner, PackageSession, names_of, typed
from neurokit.export.aoti.said import check_probed
from neurokit.export.sequence import initial_states, reduce_steps
from neurokit.feeds import repeated
from neurokit.native import need_noted
from neurokit.over_time import batch_axes, of_each
from neurokit.parity.units import unit_of
from neurokit.target import Probe

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.parity.vectors import Vectors

PROBE_FILE = "probe.pt2"
TWIN, NEURONS = "twin", "neurons"
# Further inputs on which package and twin are compared, in units of the declared range: strong ones make layers fire
# that the test vectors leave silent.
_STRENGTHS = (1.0, 8.0, 64.0)
_MANY = 64  # samples on which a package in 16 bits is run beside its twin
_TOLERANCE_16 = {"float16": 1e-2, "bfloat16": 8e-2}  # relative L2 error of outputs without neurons
# The most that is allowed of a network that amplifies rounding: further off, an answer is none.
_MOST_16 = 0.25
Values = dict[str, np.ndarray]


class AotiProbe(Probe):
    """Runs one package in the ways that verification asks for.

    Outputs and last states of a free run are the package's own. Spikes, currents and neurons alone come from the twin
    beside it, which is compiled of the same rewritten program and shows every layer; `inspect` holds the two together.

    Args:
        artifact: The artifact.
        threads: Threads within an operator; 0 leaves it to PyTorch.
    """

    def __init__(self, artifact: Artifact, threads: int = 0) -> None:
        self._artifact, self._threads = artifact, threads
        manifest = artifact.manifest
        check_probed(artifact)
        self._open = self.runner()
        self._check_code()
        self._graph = manifest.graphs[0]
        self._step = manifest.form == "step"
        self._outputs = [port.name for port in self._graph.outputs]
        # Without layers, none or none that are shown, outputs are held to a relative error.
        if manifest.target_info.get("precision", "float32") != "float32" and not manifest.target_info["calls"]:
            self.tolerance = _TOLERANCE_16[manifest.target_info["precision"]]
        self._time_steps, self._info = manifest.time_steps, manifest.target_info
        self._calls: list[dict[str, Any]] = self._info["calls"]
        self._of_layer: dict[str, list[int]] = {}
        for at, call in enumerate(self._calls):
            self._of_layer.setdefault(call["layer"], []).append(at)
        decomposed = {neuron.path for neuron in manifest.neurons if neuron.op == "decomposed"}
        self._hidden = decomposed - {name.partition("@")[0] for name in self._of_layer}
        self._twin = self._new_twin() if self._calls else None
        self._alone = self._new_neurons() if self._calls else None
        self._last: Values = {}
        self._before: list[list[np.ndarray]] = []  # membranes before every call, of every step of the last free run

    def _check_code(self) -> None:
        """Refuses machine code that is from elsewhere."""
        need_noted(self._artifact, [PROBE_FILE] if self._artifact.manifest.target_info["calls"] else [])

    def _new_twin(self) -> PackageSession:
        inputs, outputs = names_of(self._graph)
        count = range(len(self._calls))
        before = [f"before.{at}.{k}" for at in count for k in range(self._calls[at]["states"])]
        shown = [*(f"current.{at}" for at in count), *(f"spikes.{at}" for at in count), *before]
        given = [*inputs, FORCE, *(f"forced.{at}" for at in count)]
        return self._session(TWIN, given, [*outputs, *shown])

    def _new_neurons(self) -> PackageSession:
        names = [f"{kind}.{k}" for kind, count in enumerate(self._info["kinds"]) for k in range(count)]
        return self._session(NEURONS, names, names)

    def _session(self, model: str, inputs: Sequence[str], outputs: Sequence[str]) -> PackageSession:
        device = self._info["built_for"]["device"]
        return PackageSession(self._artifact.file(PROBE_FILE), model, inputs, outputs, device)

    def runner(self) -> AotiRunner:
        """Opens the package."""
        return AotiRunner(self._artifact, threads=self._threads)

    def layers(self) -> list[str]:
        """Returns the module path of every neuron layer, in the order of the program."""
        return list(self._of_layer)

    def can_force(self) -> bool:
        """Whether every neuron is a call that can be given the reference's spikes."""
        return not (self._step and any(state.neuron in self._hidden for state in self._graph.states))

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors, with how many neurons are no layer here, and what showed the layers."""
        said = "layers are seen in a probing twin, compiled of the same rewritten program; outputs are the package's"
        notes = (*vectors.notes, said) if vectors.layers else vectors.notes
        vectors = replace(vectors, hidden=len(self._hidden) or vectors.hidden, notes=notes)
        precision = self._info.get("precision", "float32")
        if precision == "float32":
            return vectors
        if self.tolerance is not None:
            # Its reference's own distance from float64, in units of the other type.
            own = max(vectors.roundings.values(), default=0.0) * unit_of(precision) / unit_of("float32")
            if own > self.tolerance:
                self.tolerance = min(_MOST_16, own)
                said = f"the network amplifies rounding: in {precision} outputs may be off by {self.tolerance:.2g}"
                vectors = replace(vectors, notes=(*vectors.notes, said))
        return in_16_bits(vectors, precision, self._info.get("roundings", {}))

    def free(self, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs the package on whole inputs; returns its outputs, and the spikes of every layer of its twin."""
        outputs = self._own(feeds)
        self._last = self._open.states() if self._step else {}
        if self._twin is None:
            return outputs, []
        shown = self._shown(feeds, None)
        self._before = [[step[name] for name in self._twin.outputs if name.startswith("before.")] for step in shown]
        return outputs, self._layers_of(shown, "spikes")

    def currents(
        self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs the twin with the given spikes in place of every layer's own; returns outputs and currents."""
        shown = self._shown(feeds, spikes)
        return self._reduced(shown), self._layers_of(shown, "current")

    def run(self, index: int, current: np.ndarray, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs one layer's kind of neuron alone over time, step by step."""
        call = self._call_of(index)
        spikes, states = self._stepped(call, current, (v0.reshape(-1),))
        return spikes.reshape(current.shape), states[0].reshape(v0.shape)

    def run_steps(
        self, index: int, current: np.ndarray, states: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Runs a rare layer's own step alone over time, `[T, B, ...]` from states `[B, ...]`."""
        return self._stepped(self._call_of(index), current, tuple(states))

    def initial_membranes(self) -> list[np.ndarray | None]:
        """Returns every common layer's membranes before its calls in the last free run."""
        rare = [self._call_of(index)["rare"] for index in range(len(self._of_layer))]
        return [None if is_rare else self.states_before(index)[0] for index, is_rare in enumerate(rare)]

    def states_before(self, index: int) -> tuple[np.ndarray | None, ...]:
        """Returns a layer's states before its calls in the last free run, `[calls, B, ...]`; of steps every step's."""
        if not self._before:
            return (None,)
        starts = np.cumsum([0, *(call["states"] for call in self._calls)])
        calls = list(self._of_layer.values())[index]
        rows = range(self._calls[calls[0]]["states"])
        return tuple(np.stack([step[starts[at] + k] for step in self._before for at in calls]) for k in rows)

    def membranes(self) -> list[np.ndarray | None]:
        """Returns every layer's membrane after the last free run of a step form: the package's own."""
        names: dict[str, list[str]] = {}
        for state in self._graph.states:
            names.setdefault(state.neuron, []).append(state.name)
        single = [names.get(path, []) for path in self._of_layer]
        return [self._last.get(found[0]) if len(found) == 1 else None for found in single] if self._step else []

    def inspect(self, vectors: Vectors) -> tuple[list[str], list[str]]:
        """Holds the package against its twin, on the test vectors and on inputs drawn from the declared range."""
        from neurokit.parity.forcing import in_bounds

        if self._twin is None:
            return [], []
        faults, equal = [], True
        drawn = [(_drawn(vectors, at, factor), factor) for at, factor in enumerate(_STRENGTHS)]
        for feeds, factor in ((vectors.feeds, 1.0), *drawn):
            mine, theirs = self._own(feeds), self._reduced(self._shown(feeds, None))
            for name, a, b in zip(self._outputs, mine, theirs, strict=True):
                equal &= np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
                if not in_bounds(a, b, factor * vectors.output_bounds.get(name, 0.0)):
                    faults.append(f"output {name!r} of the package is not what its probing twin puts out")
        faults += [*self._other_weights(), *self._unlike(vectors)]
        return list(dict.fromkeys(faults)), ["package and probing twin put out the same bits"] if equal else []

    def _other_weights(self) -> list[str]:
        """Returns a fault for every weight of the package that is another in its twin."""
        if self._info["built_for"]["device"] != "cpu":
            return []
        from neurokit.export.aoti.constants import other_weights

        file, beside = self._artifact.file(self._graph.file), self._artifact.file(PROBE_FILE)
        names = other_weights(file, "model", beside, TWIN)
        return [f"weight {name!r} of the package is not that of its probing twin" for name in names]

    def _unlike(self, vectors: Vectors) -> list[str]:
        """Returns outputs of which many samples are others than the twin's; of 16 bits alone, which have no blind runs.

        Both are the same program in the same types, so that few samples have a decision that their compilers' orders
        of adding may move.
        """
        precision = self._info.get("precision", "float32")
        if precision == "float32":
            return []
        from neurokit.parity.blind import feeds_of

        fixed = self._artifact.manifest.options.get("batch")
        size = fixed if isinstance(fixed, int) else _MANY
        off, count = dict.fromkeys(self._outputs, 0), -(-_MANY // size) * size
        for seed in range(count // size):
            feeds = feeds_of(vectors, "range", 200 + seed, size)
            mine, theirs = self._own(feeds), self._reduced(self._shown(feeds, None))
            axes = batch_axes(vectors.time_output, len(mine), [y.shape for y in mine], size)
            for name, axis, a, b in zip(self._outputs, axes, mine, theirs, strict=True):
                off[name] += _moved(a, b, axis, _TOLERANCE_16[precision])
        said = "of the package is not what its probing twin puts out"
        return [f"output {name!r} {said}, in {n} of {count} samples" for name, n in off.items() if 8 * n > count]

    def _call_of(self, index: int) -> dict[str, Any]:
        return self._calls[list(self._of_layer.values())[index][0]]

    def _stepped(self, call: dict[str, Any], current: np.ndarray, states: tuple[np.ndarray, ...]) -> Any:
        """Runs the kind of neuron of a call over time; the other kinds are given as little as they take."""
        assert self._alone is not None
        kind, counts = call["kind"], self._info["kinds"]
        examples = self._info["examples"]
        given = {
            f"{k}.{j}": typed(np.zeros(shape), dtype)
            for k, kinds in enumerate(examples)
            for j, (shape, dtype) in enumerate(kinds)
        }
        wanted = [f"{kind}.{j}" for j in range(counts[kind])]
        types = [dtype for _, dtype in examples[kind]]
        rare, held, outputs = call["rare"], list(states), []
        few = not rare and current.shape[1:] and int(np.prod(current.shape[1:])) < 2  # sizes are traced from 2 on
        for x in current:
            row = x if rare else x.reshape(-1)
            values = [np.repeat(v, 2) if few else v for v in (row, *held)]
            mine = {name: typed(v, t) for name, v, t in zip(wanted, values, types, strict=True)}
            found = self._alone.run(wanted, {**given, **mine})
            outputs.append(found[0][: row.shape[0]].reshape(x.shape))
            held = [after[: before.shape[0]] for after, before in zip(found[1:], held, strict=True)]
        return np.stack(outputs) if outputs else current.copy(), tuple(held)

    def _own(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the package itself."""
        single = len(self._open.graphs) == 1
        found = self._open(dict(feeds)) if single else self._open.run(self._graph.name, dict(feeds))
        return [np.asarray(found[name]) for name in self._outputs]

    def _shown(self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray] | None) -> list[Values]:
        """Runs the twin; returns everything that it puts out, one entry a step of a step form."""
        assert self._twin is not None
        if not self._step:
            return [self._twin_run(dict(feeds), self._forced(feeds, spikes, None))]
        steps = self._steps(feeds)
        batch = int(next(iter(steps[0].values())).shape[0])
        held = initial_states(self._graph.states, batch, self._graph.dims, self._artifact.path)
        shown = []
        for t, step in enumerate(steps):
            found = self._twin_run({**step, **held}, self._forced(step, spikes, t))
            held = {state.input: found[state.output] for state in self._graph.states}
            shown.append(found)
        return shown

    def _twin_run(self, feeds: Mapping[str, Any], more: Mapping[str, Any]) -> Values:
        assert self._twin is not None
        found = self._twin.run(self._twin.outputs, {**feeds, **more})
        return dict(zip(self._twin.outputs, found, strict=True))

    def _forced(
        self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray] | None, step: int | None
    ) -> dict[str, Any]:
        """Returns what each call puts out instead of its own spikes, or room for it where they are its own."""
        given: dict[str, Any] = {FORCE: np.array(spikes is not None)}
        if spikes is None:
            ports = [(port.name, tuple(port.shape), feeds[port.name].shape) for port in self._graph.inputs]
            sizes = solve(ports, {})
            for at, call in enumerate(self._calls):
                shape = [evaluate(as_size(size), sizes) for size in call["shape"]]
                given[f"forced.{at}"] = typed(np.zeros(shape), call["dtype"])
            return given
        for indices, value in zip(self._of_layer.values(), spikes, strict=True):
            parts = (
                np.split(value, len(indices))
                if step is None
                else [value[at : at + 1] for at in range(step * len(indices), (step + 1) * len(indices))]
            )
            given |= {
                f"forced.{at}": typed(part, self._calls[at]["dtype"]) for at, part in zip(indices, parts, strict=True)
            }
        return given

    def _layers_of(self, shown: list[Values], what: str) -> list[np.ndarray]:
        """Returns a value of every layer from those of its calls, `[T, B, ...]`."""
        return [
            np.concatenate([step[f"{what}.{at}"] for step in shown for at in calls])
            for calls in self._of_layer.values()
        ]

    def _steps(self, feeds: Mapping[str, np.ndarray]) -> list[Values]:
        """Returns the inputs of every step; a model that repeats an image sees it at each of them."""
        if self._time_steps is None:
            return [dict(feeds)]
        if self._info.get("time_input") == "image":
            feeds = repeated(feeds, self._graph.inputs, int(self._time_steps))
        return [dict(zip(feeds, values, strict=True)) for values in zip(*feeds.values(), strict=True)]

    def _reduced(self, shown: list[Values]) -> list[np.ndarray]:
        """Returns the twin's outputs, reduced over time as the sequence form does inside."""
        if not self._step or self._time_steps is None:
            return [shown[0][name] for name in self._outputs]
        kinds = of_each(self._info.get("time_output", ""), len(self._outputs))
        stacked = [np.stack([step[name] for step in shown]) for name in self._outputs]
        return [reduce_steps(value, kind) for value, kind in zip(stacked, kinds, strict=True)]


def _moved(a: np.ndarray, b: np.ndarray, axis: int, most: float) -> int:
    """Returns how many samples of two outputs are further apart than a share of the second's size."""
    mine, theirs = (np.moveaxis(y.astype(np.float64), axis, 0).reshape(y.shape[axis], -1) for y in (a, b))
    return int((np.linalg.norm(mine - theirs, axis=1) > most * np.linalg.norm(theirs, axis=1)).sum())


def _drawn(vectors: Vectors, seed: int, factor: float) -> Values:
    """Returns inputs of the shapes of the test vectors, drawn from the declared ranges; fractions are made stronger."""
    stream = np.random.default_rng(seed)
    drawn = {}
    for name, value in vectors.feeds.items():
        low, high = vectors.ranges.get(name, (0.0, 1.0))
        span = stream.random(value.shape) * (high - low) + low
        whole = value.dtype.kind in "iub"
        drawn[name] = (span.round() if whole else span * factor).astype(value.dtype)
    return drawn
