"""Runs and verifies ONNX artifacts on OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, InputError, NeurokitError
from neurokit.export.onnx.agree import hold_against_graph
from neurokit.export.onnx.calibrated import allowed_of, judge_kept
from neurokit.export.onnx.probe import OnnxProbe
from neurokit.export.openvino.session import OpenVinoSession, first_line
from neurokit.export.ort import OnnxRunner

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.feeds import Feeds, Outputs
    from neurokit.parity.vectors import Vectors


class OpenVinoRunner(OnnxRunner):
    """An artifact that is open on OpenVINO; a context manager, called as `OnnxRunner` is.

    Args:
        artifact: The artifact.
        threads: Threads; 0 leaves it to OpenVINO.
        seed: Of the stream that random inputs are drawn from.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 0, seed: int = 0) -> None:
        files = artifact.manifest.target_info["openvino"]
        graphs = artifact.manifest.graphs
        self._begin(artifact, {g.name: OpenVinoSession(artifact.file(files[g.name]), threads) for g in graphs}, seed)
        for graph in graphs:
            hold_against_graph(artifact, graph, self._sessions[graph.name].said())

    @property
    def providers(self) -> list[str]:
        """What runs it."""
        return ["OpenVINO CPU"]

    def _placed(self, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return dict(values)

    def _array(self, kept: Any) -> np.ndarray:
        return np.array(kept)

    def _run_once(self, info: Any, feeds: Feeds) -> Outputs:
        names = [port.name for port in info.outputs]
        return dict(zip(names, self._called(info.name, names, feeds), strict=True))

    def _call_kept(self, info: Any, feeds: Feeds) -> tuple[Outputs, list[Any]]:
        names, states = [port.name for port in info.outputs], [state.output for state in info.states]
        found = self._called(info.name, [*names, *states], {**feeds, **self._states[info.name]})
        return dict(zip(names, found, strict=False)), found[len(names) :]

    def _called(self, graph: str, names: list[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        try:
            return self._sessions[graph].run(names, feeds)
        except NeurokitError:
            raise
        except Exception as error:  # OpenVINO's exceptions are RuntimeErrors of many lines
            raise InputError(
                f"OpenVINO cannot run graph {graph!r} on these inputs: {first_line(error)}",
                expected="values that the model takes",
            ) from error


class OpenVinoProbe(OnnxProbe):
    """Runs an artifact on OpenVINO in the ways that verification asks for: every graph is compiled by it."""

    has_levels = False

    def __init__(self, artifact: Artifact, threads: int = 0) -> None:
        super().__init__(artifact, threads=threads)
        self._open = OpenVinoRunner(artifact, threads=threads)  # what is run: its file is held against the manifest

    def _flat_file(self, file: str, graph: str) -> str:
        """Returns the name of the file that is run; of int8 it is no ONNX file, and its answers are compared."""
        run = str(self._artifact.manifest.target_info["openvino"][graph])
        return run if run.endswith(".onnx") else ""

    def _session(self, model: Any) -> Any:
        return OpenVinoSession(model, self._options[1])

    def _call(self, session: Any, wanted: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        try:
            return list(session.run(wanted, feeds))
        except RuntimeError as error:
            raise ArtifactError(f"OpenVINO cannot run the model: {first_line(error)}") from error

    def runner(self) -> OnnxRunner:
        """Opens what calls in a row are made on."""
        return OpenVinoRunner(self._artifact, threads=self._options[1])


class OpenVinoInt8Probe(OpenVinoProbe):
    """Runs an int8 artifact: its outputs, held to what export measured against the float network."""

    def __init__(self, artifact: Artifact, threads: int = 0) -> None:
        super().__init__(artifact, threads=threads)
        info = artifact.manifest.target_info
        self.tolerance = float(info["quantisation"]["max_error"])
        # A sample has the same integers in every batch: what its answer may move by is far below what int8 moved it by.
        self.batch_tolerance = min(self.tolerance, allowed_of(info["against_float"]["output_relative_l2"]))

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors without coverage stimuli: beyond what it was calibrated on, int8 clips by design."""
        return replace(super().restrict(vectors), coverings=(), blind=())

    def free(self, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs the int8 network; there are no layers."""
        found = self._open.run(self._open.graphs[0], dict(feeds))
        return [found[name] for name in self._outputs], []

    def inspect(self, vectors: Vectors) -> tuple[list[str], list[str]]:
        """Holds the answers to what export measured."""
        most = float(self.tolerance or 0.0)
        return judge_kept(self._artifact, lambda part: self.free(part)[0], most)
