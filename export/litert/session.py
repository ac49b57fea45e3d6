"""A LiteRT file that is open, called as verification and runners call sessions of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import ArtifactError, InputError, MissingRuntimeError

INSTALL = 'pip install "neurokit-edge[litert]"'


class LiteRtSession:
    """One open file.

    Args:
        path: The file.
        inputs: Names of its inputs, in the order of the program that it was converted from.
        outputs: Names of its outputs, in order.
        threads: Threads; 0 leaves it to LiteRT.

    Raises:
        MissingRuntimeError: If ai-edge-litert is not installed.
        ArtifactError: If LiteRT does not open the file, or it has other inputs or outputs.
    """

    def __init__(self, path: Path, inputs: Sequence[str], outputs: Sequence[str], threads: int = 0) -> None:
        if threads < 0:
            raise InputError(f"threads={threads}", expected="a whole number >= 0")
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingRuntimeError(f"ai-edge-litert does not load: {error}", fix=INSTALL) from error
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        try:
            self._open = Interpreter(str(path), num_threads=threads or None)
            self._open.allocate_tensors()
            self._call = self._open.get_signature_runner()
            (said,) = self._open.get_signature_list().values()
        except Exception as error:  # its interpreter raises what C++ threw
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ArtifactError(f"{path}: LiteRT does not open the file: {first[:200]}") from error
        if self._open.num_subgraphs() > 1:
            _refuse_loops(path)
        self._given = {f"args_{at}": name for at, name in enumerate(self.inputs) if f"args_{at}" in said["inputs"]}
        self._found = {name: f"output_{at}" for at, name in enumerate(self.outputs)}
        if set(said["inputs"]) != set(self._given) or set(said["outputs"]) != set(self._found.values()):
            raise ArtifactError(
                f"{path} has {len(said['inputs'])} inputs and {len(said['outputs'])} outputs, "
                f"and its manifest {len(self.inputs)} and {len(self.outputs)}"
            )
        self._shapes = {at: tuple(d["shape"].tolist()) for at, d in self._call.get_input_details().items()}
        self._types = {at: d["dtype"] for at, d in self._call.get_input_details().items()}

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Runs it; returns copies of the outputs that are named.

        Raises:
            InputError: If an input has another shape than the file.
        """
        given = {}
        for at, name in self._given.items():
            value = np.asarray(feeds[name], dtype=self._types[at])
            if value.shape != self._shapes[at]:
                wanted, has = list(self._shapes[at]), list(value.shape)
                raise InputError(f"{name!r} has shape {has}", expected=f"{wanted}: a LiteRT file has fixed sizes")
            given[at] = value
        found = self._call(**given)
        return [np.array(found[self._found[name]]) for name in names]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every input that the file reads."""
        return {name: self._shapes[at] for at, name in self._given.items()}


def _refuse_loops(path: Path) -> None:
    """Refuses a file with a loop: exports write none, and LiteRT cannot be stopped.

    Raises:
        ArtifactError: If it holds one.
    """
    from ai_edge_litert import schema_py_generated as schema

    loops = {schema.BuiltinOperator.WHILE, schema.BuiltinOperator.STABLEHLO_WHILE}
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    codes = [model.OperatorCodes(at) for at in range(model.OperatorCodesLength())]
    if any(loops & {code.BuiltinCode(), code.DeprecatedBuiltinCode()} for code in codes if code is not None):
        raise ArtifactError(
            f"{path}: the network could run for ever: it holds a WHILE",
            expected="a network without loops, as exports write it",
            fix="export the model again",
        )


class RowSession:
    """A file of fixed size that is called with rows of any number: in parts, the last one filled up with zeros.

    Args:
        session: A session whose inputs and outputs all are rows of one size.
        rows: That size.

    Raises:
        ArtifactError: If the file takes another number of them.
    """

    def __init__(self, session: LiteRtSession, rows: int) -> None:
        for name, shape in session.shapes().items():
            if shape != (rows,):
                raise ArtifactError(
                    f"the file that runs neurons alone takes {list(shape)} of {name!r}, and its manifest says {rows}",
                    expected="files and a manifest that fit each other",
                    fix="export the model again",
                )
        self._session, self._rows = session, rows
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Runs it on all rows; returns the outputs that are named."""
        longest = max(len(value) for value in feeds.values())
        parts = []
        for at in range(0, max(longest, 1), self._rows):
            cut = {name: np.asarray(value)[at : at + self._rows] for name, value in feeds.items()}
            full = {name: np.concatenate((x, np.zeros(self._rows - len(x), x.dtype))) for name, x in cut.items()}
            parts.append(self._session.run(names, full))
        return [np.concatenate(each)[:longest] for each in zip(*parts, strict=True)]
