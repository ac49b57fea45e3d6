"""Running ONNX artifacts on ONNX Runtime: sessions, and a runner for sequences and streams."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.dims import BATCH, solve
from neurokit.errors import ArtifactError, InputError, MissingRuntimeError, NeurokitError
from neurokit.export.onnx.agree import hold_against_graph, of_session
from neurokit.export.onnx.endless import EndlessError, may_loop
from neurokit.export.onnx.watched import Watched, run_bound
from neurokit.export.sequence import StepLimit, initial_states, reduce_steps
from neurokit.feeds import (
    Feeds,
    Outputs,
    call_by_name,
    check_feeds,
    check_growth,
    check_padding,
    distribution_of,
    given_ports,
    repeated,
    stream_of,
    whole_ports,
    with_draws,
)
from neurokit.over_time import of_each

if TYPE_CHECKING:
    from neurokit.artifact import Artifact

_MOST_THREADS = 4096
_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


def new_session(
    model: Any,
    *,
    level: int = 3,
    threads: int = 0,
    providers: Sequence[str] = (),
    spinning: bool = True,
    profile: str = "",
) -> Any:
    """Opens a session on a model file or proto.

    Args:
        model: Path of an .onnx file, or a ModelProto.
        level: Graph optimisation level, 0 (none), 1 (basic), 2 (extended) or 3 (all).
        threads: Threads within an operator; 0 leaves it to ONNX Runtime.
        providers: Execution providers in order of preference; default is the CPU.
        spinning: Whether idle threads spin (faster) or sleep (cheaper).
        profile: Start of the name of a file that the session's profile is written to, or none.

    Denormals are taken as zero: decaying membranes end in them, and they are slow. ONNX Runtime leaves that mode on
    in the thread that opens a process's first session.

    Raises:
        MissingRuntimeError: If ONNX Runtime or a provider is not installed.
        InputError: If the level or the number of threads does not exist.
        ArtifactError: If ONNX Runtime does not take the model.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingRuntimeError("onnxruntime is not installed", fix="pip install onnxruntime") from error
    if level not in range(len(_LEVELS)) or not 0 <= threads <= _MOST_THREADS:
        raise InputError(f"level={level}, threads={threads}", expected=f"level 0 to 3, threads 0 to {_MOST_THREADS}")
    missing = [p for p in providers if p not in ort.get_available_providers()]
    if missing:
        raise MissingRuntimeError(
            f"ONNX Runtime here has no {', '.join(missing)}",
            expected="one of " + ", ".join(ort.get_available_providers()),
            fix="install the ONNX Runtime package of that provider",
        )
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what fails is raised; nothing more on the screen
    options.add_session_config_entry("session.set_denormal_as_zero", "1")  # decaying membranes end in denormals
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    with _readable(model) as source:
        size, loops = size_and_loops(source)
        try:
            session = ort.InferenceSession(source, options, providers=list(providers) or ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common base
            first = str(error).strip().splitlines()[0]
            raise ArtifactError(f"ONNX Runtime does not take the model: {first[:300]}") from error
    return Watched(session, size) if loops else session


def size_and_loops(source: str | bytes) -> tuple[int, bool]:
    """Returns the size of a model's file or content in bytes, and whether it has loops.

    Raises:
        ArtifactError: If it is no model, or one that could run for ever.
    """
    try:
        if isinstance(source, bytes):
            return len(source), may_loop(source)
        with open(source, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return len(mapped), may_loop(mapped)
    except EndlessError as error:
        raise ArtifactError(
            f"the model could run for ever: {error}",
            expected="loops over time steps, samples or tiles of the inputs, as exports write them",
            fix="export the model again",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"ONNX Runtime does not take the model: it is no ONNX file ({error})") from error


@contextmanager
def _readable(model: Any) -> Iterator[str | bytes]:
    """Gives what ONNX Runtime opens: a path, or a model's bytes.

    Protobuf writes no more than 2 GiB: a larger model is put into a folder for the time of opening, its weights apart.
    """
    if isinstance(model, str | Path):
        yield str(model)
        return
    try:
        written = model.SerializeToString()
    except Exception as error:  # protobuf's, by name: the library is onnx's own
        if type(error).__name__ not in ("EncodeError", "ValueError"):
            raise
        import onnx_ir as ir

        from neurokit.scratch import scratch

        with scratch("onnx") as folder:
            path = folder / "model.onnx"
            ir.save(ir.from_proto(model), path, external_data="weights")
            yield str(path)
        return
    yield written


class OnnxRunner:
    """An ONNX artifact that is open; a context manager.

    Inputs and outputs go by name: `runner({"ids": ids, "mask": mask})["logits"]`; where there is one of each, an array
    may be given and is returned. A sequence or scan artifact is called with whole sequences. A step artifact streams:
    `reset(batch)`, then `step(feeds)`; calling it runs `reset` and the steps of a sequence. An artifact of several
    graphs is run by `run(graph, feeds)`, which hands on what one graph gave to the next. State stays in device memory
    between steps, in two sets of buffers that take turns (a runtime must not read and write one buffer in one run).

    Args:
        artifact: The artifact.
        level: Graph optimisation level, 0 to 3.
        threads: Threads within an operator; 0 leaves it to ONNX Runtime.
        providers: Execution providers in order of preference.
        spinning: Whether idle threads spin.
        seed: Of the stream that random inputs are drawn from, those that a call does not give.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        level: int = 3,
        threads: int = 0,
        providers: Sequence[str] = (),
        spinning: bool = True,
        seed: int = 0,
    ) -> None:
        how: dict[str, Any] = {"level": level, "threads": threads, "providers": providers, "spinning": spinning}
        self._device = "cuda" if any("CUDA" in p or "Tensorrt" in p for p in providers) else "cpu"
        graphs = artifact.manifest.graphs
        opened = {g.name: new_session(artifact.file(g.file or "model.onnx"), **how) for g in graphs}
        self._begin(artifact, opened, seed)
        for graph in graphs:
            hold_against_graph(artifact, graph, of_session(opened[graph.name]))

    def _begin(self, artifact: Artifact, sessions: dict[str, Any], seed: int) -> None:
        """Sets what every runner of ONNX files has, whichever runtime its sessions, by graph, are of."""
        self._sessions = sessions
        self._stream = stream_of(seed)
        self.manifest = artifact.manifest
        self._folder = artifact.path
        self._graphs = {graph.name: graph for graph in self.manifest.graphs}
        self._states: dict[str, dict[str, Any]] = {}
        self._passed_on: Outputs = {}  # by "GRAPH.OUTPUT"
        self._sources = {port.source for graph in self._graphs.values() for port in graph.inputs if _source(port)}
        self._batch = 0
        self._limit = StepLimit(self.manifest.target_info)
        self._begun: np.ndarray | None = None  # which texts of a language model have had a token

    @property
    def streaming(self) -> bool:
        """Whether the artifact keeps state from call to call: it takes one time step, or one part of a text."""
        return self.manifest.form == "step"

    @property
    def providers(self) -> list[str]:
        """The execution providers that ONNX Runtime really uses."""
        return list(next(iter(self._sessions.values())).get_providers())

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs."""
        return tuple(self._graphs)

    def __call__(self, given: Feeds | np.ndarray) -> Any:
        """Runs whole inputs: `[T, B, ...]`, or `[B, ...]` without time or for an image that is repeated inside.

        Args:
            given: Inputs by name, or one array where there is one input and one output.

        Returns:
            Outputs by name, or one array.

        Raises:
            InputError: If shape, dtype or number of inputs is not what the artifact takes, or it has several graphs.
        """
        return self._by_name(self._run_whole, given)

    def step(self, given: Feeds | np.ndarray) -> Any:
        """Runs one time step `[B, ...]`, or the next part of a text, from the present state, and keeps the new state.

        Raises:
            InputError: If this form keeps no state, or the inputs are not what it takes.
        """
        self._need_streaming("step")
        return self._by_name(lambda feeds: self.run(self._only(), feeds), given)

    def run(self, graph: str, feeds: Feeds) -> Outputs:
        """Runs one graph once, from the present state if it keeps one.

        Args:
            graph: Its name.
            feeds: Inputs by name; what another graph gave before need not be repeated.

        Raises:
            InputError: If there is no such graph, or the inputs are not what it takes.
        """
        info = self._graphs.get(graph)
        if info is None:
            raise InputError(f"there is no graph {graph!r}", expected="one of " + ", ".join(self._graphs))
        self._need_open()
        passed = {port.name: self._passed_on[port.source] for port in info.inputs if _source(port) in self._passed_on}
        feeds = with_draws({**passed, **feeds}, info.inputs, self._stream)
        sizes = check_feeds(feeds, info.inputs, self._growing(info), info.dims)
        outputs = self._run_kept(info, feeds, sizes) if info.states else self._run_once(info, feeds)
        self._passed_on |= {f"{graph}.{n}": v for n, v in outputs.items() if f"{graph}.{n}" in self._sources}
        return outputs

    def reset(self, batch: int = 1) -> None:
        """Sets every state to its initial value, for `batch` independent streams, and forgets what was passed on.

        Raises:
            InputError: If this form keeps no state, or there are no streams, or the runner is closed.
        """
        self._need_streaming("reset")
        self._need_open()
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
            raise InputError(f"reset for {batch!r} streams", expected="a whole number >= 1")
        self._batch = batch
        self._begun = None
        self._limit.made = 0
        self._passed_on = {}
        for name, graph in self._graphs.items():
            values = initial_states(graph.states, batch, graph.dims, self._folder)
            self._states[name] = self._placed(values)

    def _placed(self, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns states as the runtime keeps them between calls."""
        import onnxruntime as ort

        return {name: ort.OrtValue.ortvalue_from_numpy(value, self._device) for name, value in values.items()}

    def _array(self, kept: Any) -> np.ndarray:
        """Returns a copy of a state as the runtime keeps it."""
        return np.asarray(kept.numpy())

    def states(self) -> dict[str, np.ndarray]:
        """Returns a copy of the present value of every state, by the state's name."""
        return {
            state.name: self._array(self._states[name][state.input])
            for name, graph in self._graphs.items()
            for state in graph.states
            if self._states.get(name)
        }

    def state(self, name: str) -> np.ndarray:
        """Returns a copy of the present value of one state.

        Raises:
            InputError: If there is none of the name.
        """
        for graph, state in ((g, s) for g, info in self._graphs.items() for s in info.states if s.name == name):
            if self._states.get(graph):
                return self._array(self._states[graph][state.input])
        raise InputError(f"there is no state {name!r}", expected="one of the manifest's, after reset")

    def mark(self) -> Any:
        """Returns where the stream is, for `rewind`: no value is copied, as every call makes new ones."""
        states = {name: dict(values) for name, values in self._states.items()}
        return states, self._begun, dict(self._passed_on), self._limit.made

    def rewind(self, to: Any) -> None:
        """Goes back to where the stream was at `mark`."""
        states, self._begun, passed_on, self._limit.made = to
        self._states = {name: dict(values) for name, values in states.items()}
        self._passed_on = dict(passed_on)

    def close(self) -> None:
        """Frees the sessions."""
        self._sessions = {}
        self._states = {}

    def __enter__(self) -> OnnxRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _by_name(self, run: Any, given: Any) -> Any:
        info = self._graphs[self._only()]
        wanted = [port.name for port in given_ports(info.inputs)]
        return call_by_name(run, given, wanted, [port.name for port in info.outputs])

    def _only(self) -> str:
        """Returns the name of the one graph."""
        if len(self._graphs) > 1:
            raise InputError(
                f"the artifact holds {len(self._graphs)} graphs: {', '.join(self._graphs)}",
                expected="the name of one of them",
                fix=f"runner.run({next(iter(self._graphs))!r}, feeds)",
            )
        return next(iter(self._graphs))

    def _run_whole(self, feeds: Feeds) -> Outputs:
        if not self.streaming:
            return self.run(self._only(), feeds)
        info = self._graphs[self._only()]
        self._need_open()
        if self.manifest.time_steps is None:  # state that is no neuron's: a whole text in one call
            self.reset(check_feeds(feeds, info.inputs, dims=info.dims).get(BATCH, 1))
            return self.run(info.name, feeds)
        said = self.manifest.target_info
        if said.get("time_input") == "image":
            count = int(self.manifest.time_steps or 1)
            whole = whole_ports(info.inputs, count)
            feeds = with_draws(feeds, whole, self._stream)
            check_feeds(feeds, whole, dims=info.dims)
            feeds = repeated(feeds, info.inputs, count)
        over_time = [_over_time(port) for port in info.inputs]
        feeds = with_draws(feeds, over_time, self._stream)
        check_feeds(feeds, over_time, dims=info.dims)
        steps = [dict(zip(feeds, values, strict=True)) for values in zip(*feeds.values(), strict=True)]
        first = next(iter(steps[0].values())) if steps else np.zeros(1)
        self.reset(int(first.shape[0]))
        found = [self.run(info.name, step) for step in steps]
        kinds = of_each(said.get("time_output", ""), len(info.outputs))
        return {
            port.name: reduce_steps(np.stack([values[port.name] for values in found]), kind)
            for port, kind in zip(info.outputs, kinds, strict=True)
        }

    def _growing(self, info: Any) -> dict[str, int]:
        """Returns the sizes of the axes that the present states have: a cache's length."""
        held = self._states.get(info.name)
        if not held:
            return {}
        sizes = solve([(s.name, tuple(s.shape), _shape(held[s.input])) for s in info.states], {})
        return {name: size for name, size in sizes.items() if name != BATCH}

    def _run_once(self, info: Any, feeds: Feeds) -> Outputs:
        names = [port.name for port in info.outputs]
        given = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        with one_line(info.name):
            return dict(zip(names, self._sessions[info.name].run(names, given), strict=True))

    def _begun_after(self, feeds: Feeds, batch: int) -> np.ndarray | None:
        """Refuses padding behind a token of a language model; returns which texts have begun after this call."""
        task = self.manifest.task
        settings = task.settings if task is not None and task.name == "generation" else {}
        ids, padding = feeds.get(str(settings.get("ids"))), settings.get("padding")
        if ids is None or not isinstance(padding, int) or ids.ndim != 2:
            return self._begun
        begun = self._begun if self._begun is not None else np.zeros(batch, bool)
        return check_padding(ids, padding, begun)

    def _run_kept(self, info: Any, feeds: Feeds, sizes: Mapping[str, int]) -> Outputs:
        batch = sizes.get(BATCH, int(next(iter(feeds.values())).shape[0]))
        if not self._states.get(info.name):
            self.reset(batch)
        if batch != self._batch:
            raise InputError(
                f"step was given {batch} streams after reset for {self._batch}",
                expected=f"an input [{self._batch}, ...]",
                fix="runner.reset(batch=...)",
            )
        check_growth(info.states, sizes, info.dims)
        self._limit.refuse()
        begun = self._begun_after(feeds, batch)
        outputs, after = self._call_kept(info, feeds)
        self._begun = begun
        self._limit.made += 1
        self._keep({state.name: value for state, value in zip(info.states, after, strict=True)})
        return outputs

    def _call_kept(self, info: Any, feeds: Feeds) -> tuple[Outputs, list[Any]]:
        """Runs a graph from its present states; returns its outputs, and the states after it as they are kept."""
        binding = self._sessions[info.name].io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name, value in self._states[info.name].items():
            binding.bind_ortvalue_input(name, value)
        names = [port.name for port in info.outputs]
        for name in names:
            binding.bind_output(name, "cpu")
        for state in info.states:
            binding.bind_output(state.output, self._device)
        with one_line(info.name):
            run_bound(self._sessions[info.name], binding, feeds.values())
        results = binding.get_outputs()
        return {name: value.numpy() for name, value in zip(names, results, strict=False)}, results[len(names) :]

    def _keep(self, values: Mapping[str, Any]) -> None:
        """Keeps states after a call; of one name in several graphs they are one state."""
        for name, graph in self._graphs.items():
            self._states[name] |= {s.input: values[s.name] for s in graph.states if s.name in values}

    def _need_streaming(self, verb: str) -> None:
        if not self.streaming:
            raise InputError(
                f"a {self.manifest.form!r} artifact cannot {verb}",
                expected="a step artifact",
                fix="neurokit export MODEL --target onnx-step",
            )

    def _need_open(self) -> None:
        if not self._sessions:
            raise InputError("the runner is closed", fix="open the artifact again")


@contextmanager
def one_line(graph: str, runtime: str = "ONNX Runtime") -> Iterator[None]:
    """Says in one line what a runtime stopped at, such as a token outside of a table; states stay as they were."""
    try:
        yield
    except NeurokitError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{runtime} cannot run graph {graph!r} on these inputs: {said[:300]}",
            expected="values that the model takes",
        ) from error


def _shape(kept: Any) -> tuple[int, ...]:
    return tuple(kept.shape() if callable(kept.shape) else kept.shape)


def _source(port: Any) -> str:
    """Returns what is passed on to an input; manifests of version 0.1 know no such thing."""
    return str(getattr(port, "source", ""))


def _over_time(port: Any) -> Any:
    """Returns an input of a step form as a whole sequence has it, with a free T before its axes."""
    shape = ("T", *port.shape)
    return SimpleNamespace(name=port.name, shape=shape, dtype=port.dtype, distribution=distribution_of(port))
