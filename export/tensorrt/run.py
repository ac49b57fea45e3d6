"""Runs TensorRT engines: a runner for sequences and streams whose tensors stay on the GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, InputError, MissingRuntimeError
from neurokit.export.sequence import StepLimit, initial_states, reduce_steps
from neurokit.export.tensorrt import library as trt_library
from neurokit.feeds import Feeds, Outputs, call_by_name, repeated
from neurokit.native import need_noted
from neurokit.over_time import of_each

if TYPE_CHECKING:
    from neurokit.artifact import Artifact

ENGINE_FILE = "model.engine"
MODEL_FILE = "model.onnx"
PLUGIN_FILE = "model.plugin.onnx"  # the network with plugins for neurons, where TensorRT was handed that


def check_device(info: dict[str, Any]) -> None:
    """Says before TensorRT does that an engine cannot run here.

    Args:
        info: What the manifest says of the engine.

    Raises:
        MissingRuntimeError: If there is no GPU, or the engine was not built for it, or for another library version.
    """
    here = trt_library.device_capability()
    built_for = [str(capability) for capability in info["compute_capabilities"]]
    if here is None:
        raise MissingRuntimeError(
            "a TensorRT engine needs an NVIDIA GPU that torch can use, and there is none here",
            expected=f"compute capability {', '.join(built_for)}",
            fix="open it on such a machine",
        )
    if not trt_library.loads_on(here, built_for, bool(info.get("portable"))):
        raise MissingRuntimeError(
            f"the engine was built for compute capability {', '.join(built_for)}; this GPU has {here}",
            fix="export it again on this machine, or for this GPU (--option capabilities=...)",
        )
    trt = trt_library.load(info["library"])
    if str(trt.__version__) != info["library_version"] and not info.get("version_compatible"):
        raise MissingRuntimeError(
            f"the engine was built with {info['library']} {info['library_version']}; here is {trt.__version__}",
            fix="install that version, or export with --option version_compatible=true",
        )


def _check_same(mine: Any, other: Any) -> None:
    """Checks that one engine's network is another's but for its weights."""
    info, theirs = mine.target_info, other.target_info
    if not info.get("refit"):
        raise InputError("the weights of this engine cannot be exchanged", fix="export it with --option refit=true")
    same = mine.model.name == other.model.name and mine.target == other.target and mine.neurons == other.neurons
    keys = ("engine_form", "precision", "layers", "layer_types", "lif_plugin", "rewrites")
    differs = next((key for key in keys if info.get(key) != theirs.get(key)), None if same else "model or neurons")
    if differs:
        raise InputError(
            f"the other artifact is of another network: its {differs} differs",
            fix="export the same model with the same options",
        )


class TensorrtRunner:
    """A TensorRT artifact that is open; a context manager.

    Args:
        artifact: The artifact.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.manifest, self._folder = artifact.manifest, artifact.path
        info = self.manifest.target_info
        check_device(info)
        need_noted(artifact, [ENGINE_FILE])
        trt = trt_library.load(info["library"])
        log = trt_library.logger(info["library"])
        log.take()
        self._runtime = trt.Runtime(log)
        self._engine = self._runtime.deserialize_cuda_engine(artifact.file(ENGINE_FILE).read_bytes())
        if self._engine is None:
            raise ArtifactError(f"TensorRT does not load the engine: {log.take()}", fix="export it again here")
        self._context = self._engine.create_execution_context()
        self._log = log
        self._inputs = [port.name for port in self.manifest.inputs]
        self._outputs = [port.name for port in self.manifest.outputs]
        self._states: dict[str, Any] = {}
        self._limit = StepLimit(self.manifest.target_info)

    @property
    def streaming(self) -> bool:
        """Whether the artifact takes one time step a call."""
        return bool(self.manifest.target_info["engine_form"] == "step")

    def __call__(self, given: Feeds | np.ndarray) -> Any:
        """Runs whole inputs: `[T, B, ...]`, or `[B, ...]` without time or for an image.

        Args:
            given: Inputs by name, or one array where there is one input and one output.

        Raises:
            InputError: If the shape is outside of the engine's profile.
        """
        return call_by_name(self._run_whole, given, self._inputs, self._outputs)

    def _run_whole(self, feeds: Feeds) -> Outputs:
        if not self.streaming:
            return self._only_outputs(self._execute(dict(feeds)))
        info = self.manifest.target_info
        if info.get("time_input") == "image":
            feeds = repeated(feeds, self.manifest.inputs, int(self.manifest.time_steps or 1))
        self.reset(int(next(iter(feeds.values())).shape[1]))
        steps = [self._step(dict(zip(feeds, values, strict=True))) for values in zip(*feeds.values(), strict=True)]
        kinds = zip(self._outputs, of_each(info.get("time_output", ""), len(self._outputs)), strict=True)
        return {name: reduce_steps(np.stack([y[name] for y in steps]), kind) for name, kind in kinds}

    def reset(self, batch: int = 1) -> None:
        """Sets every state to its initial value, for `batch` independent streams."""
        import torch

        if not self.streaming:
            raise InputError("this engine keeps no state between calls", fix="export it with --option form=step")
        feeds = initial_states(self.manifest.states, batch, folder=self._folder)
        self._limit.made = 0
        self._states = {name: torch.from_numpy(value).cuda() for name, value in feeds.items()}

    def step(self, given: Feeds | np.ndarray) -> Any:
        """Runs one time step `[B, ...]` and keeps the new state on the GPU."""
        return call_by_name(self._step, given, self._inputs, self._outputs)

    def _step(self, feeds: Feeds) -> Outputs:
        if not self._states and self.manifest.states:
            self.reset(int(next(iter(feeds.values())).shape[0]))
        self._limit.refuse()
        found = self._execute({**feeds, **self._states}, keep={s.output for s in self.manifest.states})
        self._states = {state.input: found[state.output] for state in self.manifest.states}
        self._limit.made += 1
        return self._only_outputs(found)

    def _only_outputs(self, found: dict[str, Any]) -> Outputs:
        return {name: found[name] for name in self._outputs}

    def refit(self, other: Artifact | str | Path) -> None:
        """Gives the engine the weights of another export of the same model, without building it again.

        Args:
            other: The other artifact, or its folder: the same model, form and precision, with other weights.

        Raises:
            InputError: If the engine was not exported with refit, or the other artifact is of another network.
            ArtifactError: If TensorRT does not take the weights.
        """
        from neurokit.artifact import Artifact as Kind

        other = other if isinstance(other, Kind) else Kind.load(other)
        _check_same(self.manifest, other.manifest)
        trt = trt_library.load(self.manifest.target_info["library"])
        self._log.take()
        refitter = trt.Refitter(self._engine, self._log)
        parser = trt.OnnxParserRefitter(refitter, self._log)
        network = PLUGIN_FILE if "lif_plugin" in other.manifest.target_info else MODEL_FILE
        done = parser.refit_from_file(str(other.file(network)))
        missing = refitter.get_missing_weights() if done else []
        if not done or missing or not refitter.refit_cuda_engine():
            errors = [parser.get_error(index).desc().strip() for index in range(parser.num_errors)]
            why = (errors or [self._log.take()])[0]
            why = f"{len(missing)} are missing, {missing[0]} among them" if missing else why
            raise ArtifactError(f"TensorRT does not take the weights of {other.path}: {why}", fix="export it anew")

    def layers(self) -> list[Any]:
        """Returns what the engine's inspector says of every layer after fusion: name, type, precision, tactic."""
        trt = trt_library.load(self.manifest.target_info["library"])
        inspector = self._engine.create_engine_inspector()
        found: list[Any] = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))["Layers"]
        return found

    def close(self) -> None:
        """Frees the engine."""
        self._context = self._engine = None
        self._states = {}

    def __enter__(self) -> TensorrtRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _execute(self, feeds: dict[str, Any], keep: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
        """Runs the engine once; outputs in fresh buffers, so that no state is read and written in one run."""
        import torch

        if self._context is None:
            raise InputError("the runner is closed", fix="open the artifact again")
        trt = trt_library.load(self.manifest.target_info["library"])
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            held = []
            for name, value in feeds.items():
                tensor = (
                    value if isinstance(value, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(value)).cuda()
                )
                held.append(tensor)
                if not self._context.set_input_shape(name, tuple(tensor.shape)):
                    allowed = self.manifest.target_info["profile"].get(name, "the manifest's shape")
                    raise InputError(f"{name} is {list(tensor.shape)}", expected=f"a shape within {allowed}")
                self._context.set_tensor_address(name, tensor.data_ptr())
            outputs = {}
            for index in range(self._engine.num_io_tensors):
                name = self._engine.get_tensor_name(index)
                if self._engine.get_tensor_mode(name) != trt.TensorIOMode.OUTPUT:
                    continue
                dtype = getattr(torch, str(np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))))
                outputs[name] = torch.empty(tuple(self._context.get_tensor_shape(name)), dtype=dtype, device="cuda")
                self._context.set_tensor_address(name, outputs[name].data_ptr())
            done = self._context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        if not done:
            raise ArtifactError(f"TensorRT could not run the engine: {self._log.take()}")
        return {name: value if name in keep else value.cpu().numpy() for name, value in outputs.items()}
