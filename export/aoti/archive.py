"""What is read of a package as data, before anything of it is loaded: its entries, and what it says of itself."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from neurokit.errors import ArtifactError, damaged
from neurokit.plain import parse_json

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.aoti.settings import Settings
    from neurokit.manifest import GraphInfo

_NOTES = "neurokit.manifest"
_MOST_SAID = 2**24  # bytes of what a package says of itself


def checked(path: Path, model: str) -> dict[str, str]:
    """Refuses what is no whole package with a compiled model; returns what that says of itself.

    PyTorch's loader unpacks every entry and opens the library, whatever they are: some packages would end the process.

    Args:
        path: The package.
        model: The model's name within it.

    Raises:
        ArtifactError: Names the entry.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
            if wrong is not None:
                raise _refused(path, f"{wrong} in it is damaged")
            names = archive.namelist()
            outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
            if outside or len({name.partition("/")[0] for name in names}) != 1:
                raise _refused(path, "its entries do not lie in one folder")
            folder = f"{names[0].partition('/')[0]}/data/aotinductor/{model}/"
            own = [entry for entry in archive.infolist() if entry.filename.startswith(folder)]
            libraries = [entry for entry in own if entry.filename.endswith((".so", ".pyd", ".dylib"))]
            if not libraries:
                raise _refused(path, f"it holds no compiled model {model!r}")
            for library in libraries:
                with archive.open(library) as file:
                    if not _whole_library(file.read(64), library.file_size):
                        raise _refused(path, f"{library.filename} in it is no whole library")
            return _said(archive, own)
    except ArtifactError:
        raise
    except Exception as error:  # zipfile raises of many kinds what a damaged directory leads it to
        raise _refused(path, f"it is no whole package: {error}") from error


def _refused(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path}: {why}", fix="export the model again")


def _whole_library(head: bytes, size: int) -> bool:
    """Whether a library of Linux ends where it says, at its table of sections; of others nothing is known."""
    if not head:
        return False
    if head[:4] != b"\x7fELF":
        return head[:2] == b"MZ" or head[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
    if len(head) < 64 or head[4] != 2:
        return False
    (at,), (each, count) = struct.unpack_from("<Q", head, 40), struct.unpack_from("<HH", head, 58)
    return bool(at + each * count <= size)


def _said(archive: zipfile.ZipFile, own: list[zipfile.ZipInfo]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in own:
        if entry.filename.endswith(".wrapper_metadata.json") and entry.file_size <= _MOST_SAID:
            said = parse_json(archive.read(entry).decode())
            found |= {str(key): str(value) for key, value in said.items()}
    return found


def notes_of(part: Captured, entries: dict[str, Any], at: int, settings: Settings) -> dict[str, str]:
    """Returns what a package says of itself: enough to call it without its manifest, and to hold that against it.

    Args:
        part: The captured graph.
        entries: Of the manifest.
        at: Which of its graphs it is.
        settings: What it was compiled with.
    """
    from neurokit.export.describe import metadata
    from neurokit.export.onnx.agree import described

    graph = entries["graphs"][at]
    inputs = [port["name"] for port in graph["inputs"]] + [state["input"] for state in graph["states"]]
    outputs = [port["name"] for port in graph["outputs"]] + [state["output"] for state in graph["states"]]
    return {
        "neurokit.model": part.spec.name,
        "neurokit.inputs": ",".join(inputs),
        "neurokit.outputs": ",".join(outputs),
        "neurokit.time_steps": str(part.time_steps),
        _NOTES: json.dumps({**metadata(part, entries, "aoti", at), **described(entries, at)}),
        **{f"neurokit.{key}": text for key, text in _own(settings.form, settings.precision, graph["dims"]).items()},
    }


def _own(form: str, precision: str, dims: Any) -> dict[str, str]:
    """Returns what a package notes beside what every target's file does."""
    return {"form": form, "precision": precision, "dims": json.dumps(dims, sort_keys=True)}


def hold_against(artifact: Artifact, graph: GraphInfo, said: Mapping[str, str]) -> None:
    """Refuses an artifact whose manifest says something else than its package; older ones do not say it.

    Raises:
        ArtifactError: Names the field, and what either says.
    """
    from neurokit.export.onnx.agree import hold_notes

    if _NOTES not in said:
        return
    try:
        props = parse_json(said[_NOTES])
    except ValueError:
        raise damaged(artifact.path, f"{graph.file} says nothing readable of itself") from None
    if not isinstance(props, dict) or not all(isinstance(value, str) for value in props.values()):
        raise damaged(artifact.path, f"{graph.file} says nothing readable of itself")
    hold_notes(artifact, graph, props, graph.file)
    manifest = artifact.manifest
    dims = {name: dim.model_dump() for name, dim in graph.dims.items()}
    for key, mine in _own(manifest.form, manifest.target_info.get("precision", ""), dims).items():
        if said.get(f"neurokit.{key}") != mine:
            apart = f"{key} is {mine} and {said.get(f'neurokit.{key}')}"
            raise damaged(artifact.path, f"manifest.json and {graph.file} contradict each other: {apart}")
