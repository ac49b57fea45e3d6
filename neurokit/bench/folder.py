"""An artifact folder read with the standard library and numpy alone, as a device without pydantic must."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.manifest_versions import upgraded
from neurokit.plain import parse_json, text_of

MANIFEST = "manifest.json"
VECTORS = "vectors.npz"


@dataclass(frozen=True)
class Folder:
    """An artifact as `neurokit.artifact.Artifact` shows it, as far as a runner needs it.

    Attributes:
        path: The folder.
        manifest: The content of its manifest.json, with attributes for keys.
        data: The same as plain data.
    """

    path: Path
    manifest: Any
    data: dict[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Folder:
        """Opens an artifact folder and compares every file with its sum.

        Raises:
            ArtifactError: If the folder is no artifact or is damaged.
        """
        path = Path(path)
        try:
            data = parse_json(text_of(path / MANIFEST))
            if data["format"] != "neurokit artifact":
                raise ValueError(f"its format is {data['format']!r}")
            data = upgraded(data)
            sums = {name: info["sha256"] for name, info in data["files"].items()}
            task = data.get("task")  # its settings stay a dictionary, as a manifest has them
            task = task and SimpleNamespace(name=task["name"], settings=task["settings"])
            steps = [SimpleNamespace(name=s["name"], settings=s["settings"]) for s in data.get("preprocess", ())]
            free = {"parity": data["parity"], "target_info": data["target_info"], "task": task, "preprocess": steps}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{path} is no artifact folder: {error}",
                expected="a folder that neurokit export wrote",
                fix="neurokit export MODEL --out DIR",
            ) from error
        for name, expected in sums.items():
            _check(path / name, expected)
        manifest = _named(data)
        for graph, read in zip(manifest.graphs, data["graphs"], strict=True):
            graph.dims = read.get("dims", {})
            graph.states = getattr(graph, "states", [])
        first = manifest.graphs[0]
        manifest.inputs, manifest.outputs, manifest.states = first.inputs, first.outputs, first.states
        for name, value in free.items():  # read by key, so they stay dictionaries
            setattr(manifest, name, value)
        return cls(path, manifest, data)

    def file(self, name: str) -> Path:
        """Returns the path of one of the artifact's files."""
        return self.path / name


def _check(path: Path, expected: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}", fix="copy the folder again") from error
    if found != expected:
        raise ArtifactError(f"{path} was changed (sha256 mismatch)", fix="copy the folder again")


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _named(item) for key, item in value.items()})
    return [_named(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Sample:
    """The test vectors of an artifact, as far as measuring needs them.

    Attributes:
        feeds: Every input by name.
        outputs: The reference's outputs by name.
        time_input: What the lowered form takes ("sequence" or "image").
        rounds: Each graph of several once, in the order of calling, with its feeds by name; else ().
    """

    feeds: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    time_input: str
    rounds: tuple[tuple[str, dict[str, np.ndarray]], ...] = ()


def read_vectors(path: Path, input_name: str) -> Sample:
    """Reads the test vectors of an artifact.

    Args:
        path: The file.
        input_name: Name of the one input of a file of version 0.1, which does not say.

    Raises:
        ArtifactError: If the file is no such archive.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            head = json.loads(bytes(data["head"]))
            names = head.get("inputs")
            feeds = {input_name: data["x"]} if names is None else {n: data[f"in{i}"] for i, n in enumerate(names)}
            outputs = {n: data[f"y{i}"] for i, n in enumerate(head["outputs"])}
            calls = {c["graph"]: (i, c["inputs"]) for i, c in reversed(list(enumerate(head.get("calls", ()))))}
            rounds = [
                (graph, {n: data[f"c{i}in{at}"] for at, n in enumerate(inputs)})
                for graph, (i, inputs) in sorted(calls.items(), key=lambda item: item[1][0])
            ]
            return Sample(feeds, outputs, head["time_input"], tuple(rounds) if len(rounds) > 1 else ())
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        RecursionError,
        zipfile.BadZipFile,
        zlib.error,
        IndexError,
        MemoryError,
    ) as error:
        raise ArtifactError(f"the test vectors {path} cannot be read: {error}", fix="export the model again") from error
