"""A network compiled by OpenVINO, called as verification and runners call sessions of ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from neurokit.errors import ArtifactError, InputError, MissingRuntimeError
from neurokit.export.onnx.agree import End, Said, of_model

INSTALL = 'pip install "neurokit-edge[openvino]"'
_LOOPS = {"Loop", "TensorIterator", "If"}  # an If may hold one


def core() -> Any:
    """Returns OpenVINO's core.

    Raises:
        MissingRuntimeError: If OpenVINO is not installed, or does not load.
    """
    report_nothing()
    try:
        import openvino
    except ImportError as error:
        raise MissingRuntimeError(f"openvino does not load: {error}", fix=INSTALL) from error
    return openvino.Core()


def report_nothing() -> None:
    """Keeps OpenVINO and NNCF from reporting their use to their maker, which they do unless a user has forbidden it.

    Importing either writes to a folder `intel` in the user's home, and some calls send what was called. Both do without
    the library that does so; it is hidden from this process, unless somebody has imported it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import of it fails


def flat(model: Any) -> Any:
    """Returns an ONNX model in plain operators: OpenVINO reads no local functions."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model


def read(model: Any) -> Any:
    """Reads a network from a file (ONNX, or OpenVINO's .xml) or from an ONNX model in memory.

    Raises:
        ArtifactError: If OpenVINO does not take it.
    """
    from neurokit.export.ort import size_and_loops

    in_file = isinstance(model, str | Path)
    if not in_file or Path(model).suffix == ".onnx":
        size_and_loops(str(model) if in_file else model.SerializeToString())
    given = str(model) if in_file else flat(model).SerializeToString()
    try:
        network = core().read_model(given)
    except Exception as error:  # OpenVINO's exceptions are RuntimeErrors of many lines
        raise ArtifactError(f"OpenVINO does not take the network: {first_line(error)}") from error
    if in_file and Path(model).suffix == ".xml":
        _refuse_loops(network)
    return network


def _refuse_loops(network: Any) -> None:
    """Refuses a network of OpenVINO's own form with a loop: exports write none, and one cannot be stopped.

    Raises:
        ArtifactError: Names the operator.
    """
    found = next((op for op in network.get_ops() if op.get_type_name() in _LOOPS), None)
    if found is not None:
        raise ArtifactError(
            f"the network could run for ever: it holds {found.get_type_name()} {found.get_friendly_name()!r}",
            expected="a network without loops, as exports write it",
            fix="export the model again",
        )


class OpenVinoSession:
    """One compiled network.

    Args:
        model: A file, or an ONNX model.
        threads: Threads; 0 leaves it to OpenVINO.
        device: OpenVINO's device.

    Floats are computed as float32: left alone, OpenVINO takes bfloat16 or float16 where a processor has it, and spikes
    flip.
    """

    def __init__(self, model: Any, threads: int = 0, device: str = "CPU") -> None:
        if threads < 0:
            raise InputError(f"threads={threads}", expected="a whole number >= 0")
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._model, self._network, self._how = model, read(model), (device, settings)
        self._known = {name for port in self._network.inputs for name in port.get_names()}
        self._request: Any = None
        if all(port.get_partial_shape().rank.is_static for port in self._network.inputs):
            self._compile()

    def _compile(self) -> None:
        try:
            compiled = core().compile_model(self._network, *self._how)
        except Exception as error:
            raise ArtifactError(f"OpenVINO does not compile the network: {first_line(error)}") from error
        self._request = compiled.create_infer_request()

    def _ranked(self, given: Mapping[str, np.ndarray]) -> None:
        """Gives inputs whose number of axes the file does not say that of the first values: OpenVINO needs it."""
        from openvino import PartialShape

        ranks = {}
        for port in self._network.inputs:
            (name,) = port.get_names() & given.keys()
            if port.get_partial_shape().rank.is_dynamic:
                ranks[name] = PartialShape([-1] * given[name].ndim)
        self._network.reshape(ranks)
        self._compile()

    def said(self) -> Said:
        """Returns what a file says of its inputs and outputs, with its own notes where it is ONNX."""
        if Path(self._model).suffix == ".onnx":
            import onnx

            return of_model(onnx.load(str(self._model), load_external_data=False))
        return Said({}, _ends(self._network.inputs), _ends(self._network.outputs))

    def get_inputs(self) -> list[SimpleNamespace]:
        """Returns the inputs by name, as sessions of ONNX Runtime do."""
        return [SimpleNamespace(name=end.name) for end in _ends(self._network.inputs)]

    def get_outputs(self) -> list[SimpleNamespace]:
        """Returns the outputs by name."""
        return [SimpleNamespace(name=end.name) for end in _ends(self._network.outputs)]

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the network once; returns copies of the named outputs, or of all."""
        given = {name: np.ascontiguousarray(value) for name, value in feeds.items() if name in self._known}
        if self._request is None:
            self._ranked(given)
        self._request.infer(given, share_inputs=False)
        wanted = [port.get_any_name() for port in self._network.outputs] if names is None else names
        return [np.array(self._request.get_tensor(name).data) for name in wanted]


def _ends(ports: Sequence[Any]) -> tuple[End, ...]:
    """Returns inputs or outputs; a tensor that has two names is two."""
    return tuple(
        End(name, np.dtype(port.get_element_type().to_dtype()).name, _sizes(port.get_partial_shape()))
        for port in ports
        for name in sorted(port.get_names())
    )


def _sizes(shape: Any) -> tuple[Any, ...] | None:
    return None if shape.rank.is_dynamic else tuple(size.get_length() if size.is_static else None for size in shape)


def first_line(error: BaseException) -> str:
    """Returns what an error of OpenVINO says in its last line, where the cause stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1][:300]
