"""Runs and verifies LiteRT artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.export.aoti.probe import NEURONS, AotiProbe
from neurokit.export.aoti.run import names_of
from neurokit.export.litert.session import LiteRtSession, RowSession
from neurokit.export.ort import OnnxRunner, one_line

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.feeds import Feeds, Outputs


class LiteRtRunner(OnnxRunner):
    """An artifact that is open on LiteRT; a context manager, called as `OnnxRunner` is.

    Args:
        artifact: The artifact.
        threads: Threads; 0 leaves it to LiteRT.
        seed: Of the stream that random inputs are drawn from.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 0, seed: int = 0) -> None:
        graphs = artifact.manifest.graphs
        sessions = {g.name: LiteRtSession(artifact.file(g.file), *names_of(g), threads) for g in graphs}
        for graph in graphs:
            _hold(artifact, graph, sessions[graph.name].shapes())
        self._begin(artifact, sessions, seed)

    @property
    def providers(self) -> list[str]:
        """What runs it."""
        return ["LiteRT CPU"]

    def _placed(self, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return dict(values)

    def _array(self, kept: Any) -> np.ndarray:
        return np.array(kept)

    def _run_once(self, info: Any, feeds: Feeds) -> Outputs:
        return self._called(info, feeds)[0]

    def _call_kept(self, info: Any, feeds: Feeds) -> tuple[Outputs, list[Any]]:
        return self._called(info, {**feeds, **self._states[info.name]})

    def _called(self, info: Any, feeds: Mapping[str, Any]) -> tuple[Outputs, list[Any]]:
        session = self._sessions[info.name]
        with one_line(info.name, "LiteRT"):
            found = session.run(session.outputs, feeds)
        count = len(info.outputs)
        return {port.name: y for port, y in zip(info.outputs, found, strict=False)}, found[count:]


def _hold(artifact: Artifact, graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses a file whose inputs have other sizes than the manifest says."""
    said = {port.name: port.shape for port in graph.inputs} | {state.input: state.shape for state in graph.states}
    for name, shape in shapes.items():
        if [str(size) for size in said[name]] != [str(size) for size in shape]:
            raise ArtifactError(
                f"{artifact.path}: input {name!r} of {graph.file} is {list(shape)}, in the manifest {list(said[name])}"
            )


class LiteRtProbe(AotiProbe):
    """Runs an artifact in the ways that verification asks for: its own file, and the probing twin beside it."""

    def runner(self) -> Any:
        """Opens the artifact."""
        return LiteRtRunner(self._artifact, threads=self._threads)

    def _check_code(self) -> None:
        """Does nothing: its files are data, which LiteRT's interpreter runs."""

    def _other_weights(self) -> list[str]:
        """Returns none: its files name no weights; many samples are run instead."""
        return []

    def _session(self, model: str, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
        session = LiteRtSession(self._artifact.file(f"{model}.tflite"), inputs, outputs, self._threads)
        return RowSession(session, self._info["rows"]) if model == NEURONS else session
