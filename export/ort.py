"""Running ONNX artifacts on ONNX Runtime: sessions, and a runner for sequences and streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, InputError, MissingRuntimeError
from neurokit.export.onnx.agree import hold_against_graph, of_session
from neurokit.export.sequence import initial_states, reduce_steps

if TYPE_CHECKING:
    from neurokit.artifact import Artifact

_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


def new_session(
    model: Any, *, level: int = 3, threads: int = 0, providers: Sequence[str] = (), spinning: bool = True
) -> Any:
    """Opens a session on a model file or proto.

    Args:
        model: Path of an .onnx file, or a ModelProto.
        level: Graph optimisation level, 0 (none), 1 (basic), 2 (extended) or 3 (all).
        threads: Threads within an operator; 0 leaves it to ONNX Runtime.
        providers: Execution providers in order of preference; default is the CPU.
        spinning: Whether idle threads spin (faster) or sleep (cheaper).

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
    if level not in range(len(_LEVELS)) or threads < 0:
        raise InputError(f"level={level}, threads={threads}", expected="level 0 to 3, threads >= 0")
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
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")  # decaying membranes end in denormals
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
    try:
        return ort.InferenceSession(source, options, providers=list(providers) or ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base
        first = str(error).strip().splitlines()[0]
        raise ArtifactError(f"ONNX Runtime does not take the model: {first[:300]}") from error


class OnnxRunner:
    """An ONNX artifact that is open; a context manager.

    A sequence or scan artifact is called with a whole sequence. A step artifact streams: `reset(batch)`, then
    `step(x_t)`; calling it runs `reset` and the steps of a whole sequence. State stays in device memory between
    steps, in two sets of buffers that take turns (a runtime must not read and write one buffer in one run).

    Args:
        artifact: The artifact.
        level: Graph optimisation level, 0 to 3.
        threads: Threads within an operator; 0 leaves it to ONNX Runtime.
        providers: Execution providers in order of preference.
        spinning: Whether idle threads spin.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        level: int = 3,
        threads: int = 0,
        providers: Sequence[str] = (),
        spinning: bool = True,
    ) -> None:
        self.manifest = artifact.manifest
        self._session = new_session(
            artifact.file("model.onnx"), level=level, threads=threads, providers=providers, spinning=spinning
        )
        hold_against_graph(artifact, of_session(self._session))
        self._input = self.manifest.inputs[0]
        self._outputs = [output.name for output in self.manifest.outputs]
        self._device = "cuda" if any("CUDA" in p or "Tensorrt" in p for p in providers) else "cpu"
        self._states: dict[str, Any] = {}
        self._batch = 0

    @property
    def streaming(self) -> bool:
        """Whether the artifact takes one time step a call."""
        return self.manifest.form == "step"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Runs a whole input: `[T, B, ...]`, or `[B, ...]` without time or for an image that is repeated inside.

        Raises:
            InputError: If shape or dtype is not what the artifact takes.
        """
        if self.streaming:
            return self._run_steps(x)
        self._check(x, self._input.shape)
        return self._session.run(self._outputs[:1], {self._input.name: np.ascontiguousarray(x)})[0]

    def reset(self, batch: int = 1) -> None:
        """Sets every state to its initial value, for `batch` independent streams.

        Raises:
            InputError: If this form keeps no state, or there are no streams, or the runner is closed.
        """
        import onnxruntime as ort

        self._need_streaming("reset")
        self._need_open()
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
            raise InputError(f"reset for {batch!r} streams", expected="a whole number >= 1")
        self._batch = batch
        feeds = initial_states(self.manifest.states, batch)
        self._states = {name: ort.OrtValue.ortvalue_from_numpy(value, self._device) for name, value in feeds.items()}

    def step(self, x_t: np.ndarray) -> np.ndarray:
        """Runs one time step `[B, ...]` and keeps the new state.

        Raises:
            InputError: If this form keeps no state, or x_t is not what it takes.
        """
        self._need_streaming("step")
        self._check(x_t, self._input.shape)
        if not self._states and self.manifest.states:
            self.reset(int(x_t.shape[0]))
        if self._batch and x_t.shape[0] != self._batch:
            raise InputError(
                f"step was given {x_t.shape[0]} streams after reset for {self._batch}",
                expected=f"an input [{self._batch}, ...]",
                fix="runner.reset(batch=...)",
            )
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input.name, np.ascontiguousarray(x_t))
        for name, value in self._states.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs[:1]:
            binding.bind_output(name, "cpu")
        for state in self.manifest.states:
            binding.bind_output(state.output, self._device)
        self._session.run_with_iobinding(binding)
        results = binding.get_outputs()
        self._states = {state.input: value for state, value in zip(self.manifest.states, results[1:], strict=True)}
        return results[0].numpy()

    def states(self) -> dict[str, np.ndarray]:
        """Returns a copy of the present value of every state, by the state's name."""
        return {state.name: self._states[state.input].numpy() for state in self.manifest.states if self._states}

    def close(self) -> None:
        """Frees the session."""
        self._session = None
        self._states = {}

    def __enter__(self) -> OnnxRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run_steps(self, x: np.ndarray) -> np.ndarray:
        info = self.manifest.target_info
        if info.get("time_input") == "image":
            self._check(x, self._input.shape)
            x = np.broadcast_to(x, (int(self.manifest.time_steps or 1), *x.shape))
        self._check(x, ("T", *self._input.shape))
        self.reset(int(x.shape[1]))
        return reduce_steps(np.stack([self.step(x_t) for x_t in x]), info.get("time_output", ""))

    def _need_streaming(self, verb: str) -> None:
        if not self.streaming:
            raise InputError(
                f"a {self.manifest.form!r} artifact cannot {verb}",
                expected="a step artifact",
                fix="neurokit export MODEL --target onnx-step",
            )

    def _need_open(self) -> None:
        if self._session is None:
            raise InputError("the runner is closed", fix="open the artifact again")

    def _check(self, x: np.ndarray, shape: Sequence[int | str]) -> None:
        """Refuses an input that ONNX Runtime would refuse with a worse message."""
        self._need_open()
        wanted = list(shape)
        fits = isinstance(x, np.ndarray) and x.ndim == len(wanted)
        fits = fits and all(isinstance(w, str) or w == s for w, s in zip(wanted, x.shape, strict=False))
        if not fits or str(x.dtype) != self._input.dtype:
            got = f"{list(x.shape)} {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
            raise InputError(
                f"the input is {got}", expected=f"{list(wanted)} {self._input.dtype}", fix="reshape or cast it"
            )
