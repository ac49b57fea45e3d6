"""A lowered model on disk: a folder of files, their sha256 sums and a manifest, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit import atomic, native
from neurokit.errors import ArtifactError, OutputError, damaged
from neurokit.manifest import (
    FORMAT,
    MANIFEST,
    SCHEMA_VERSION,
    DimInfo,
    FileInfo,
    GraphInfo,
    Manifest,
    ModelInfo,
    NeuronInfo,
    Reparameterisation,
    StateInfo,
    TensorInfo,
)
from neurokit.plain import parse_json, text_of
from neurokit.stages import tell

if TYPE_CHECKING:
    from neurokit.reports import ParityReport

__all__ = [
    "MANIFEST",
    "SCHEMA_VERSION",
    "Artifact",
    "DimInfo",
    "Draft",
    "FileInfo",
    "GraphInfo",
    "Manifest",
    "ModelInfo",
    "NeuronInfo",
    "Reparameterisation",
    "StateInfo",
    "TensorInfo",
    "check_out",
    "file_info",
    "write_artifact",
]

_LARGE = 10**9  # bytes whose sums take some seconds
_SUM_PER_S = 3e8  # of sha256, on a slow core
_MOST_OF_ONNX = 2**31 - 1  # protobuf's limit


@dataclass(frozen=True)
class Artifact:
    """A lowered model: its folder and what the manifest says of it. The sources of the model are not needed.

    Attributes:
        path: The folder.
        manifest: The content of its manifest.json.
    """

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        said = self.manifest
        verdict = "not verified" if said.parity is None else said.parity.get("verdict")
        return f"Artifact({str(self.path)!r}, {said.model.name} for {said.target}, {said.numerics}, {verdict})"

    @classmethod
    def load(cls, path: str | Path, check: bool = True) -> Artifact:
        """Opens an artifact folder.

        Args:
            path: The folder.
            check: Whether to compare size and sha256 of every file with the manifest.

        Raises:
            ArtifactError: If the folder is no artifact or is damaged; the message names the file.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise ArtifactError(f"{path} {what}", expected="an artifact folder", fix="neurokit export MODEL --out DIR")
        try:
            text = text_of(path / MANIFEST)
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{path} has no {MANIFEST}", expected="a folder that neurokit export wrote", fix="give that folder"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise damaged(path, f"{MANIFEST} cannot be read ({error})") from error
        artifact = cls(path, Manifest.from_text(text, path))
        if check:
            artifact.check_files()
        return artifact

    def check_files(self) -> None:
        """Compares every file with its size and sha256 in the manifest: all sizes first, since sums take time.

        Raises:
            ArtifactError: On the first file that is missing, truncated, too large to be what it is, or changed.
        """
        files = self.manifest.files
        for name, info in files.items():
            _check_size(self.path, name, info)
        total = sum(info.bytes for info in files.values())
        if total >= _LARGE:
            tell(f"reading {total / 1e9:.1f} GB of {self.path} to check its sums: some {total / _SUM_PER_S:.0f} s")
        for name, info in sorted(files.items(), key=lambda entry: entry[1].bytes):
            if file_info(self.path / name).sha256 != info.sha256:
                raise damaged(self.path, f"{name} was changed (sha256 mismatch)")

    def file(self, name: str) -> Path:
        """Returns the path of one of the artifact's files.

        Raises:
            ArtifactError: If the manifest lists no such file.
        """
        if name not in self.manifest.files:
            raise ArtifactError(
                f"{self.path} has no file {name!r}", expected="one of " + ", ".join(sorted(self.manifest.files))
            )
        return self.path / name

    def with_parity(self, report: ParityReport | Mapping[str, Any] | None) -> Artifact:
        """Records a verification in manifest.json, in one atomic step, and returns the artifact with it.

        Raises:
            OutputError: If the folder cannot be written.
        """
        parity = report if report is None or isinstance(report, Mapping) else report.to_json()
        if parity is not None and self.manifest.parity is not None and _same_verdict(parity, self.manifest.parity):
            return self  # the file keeps its bytes
        return self._with(parity=None if parity is None else dict(parity))

    def with_target_info(self, **entries: Any) -> Artifact:
        """Adds to what the target has to say in manifest.json, in one atomic step, and returns the artifact with it.

        Raises:
            OutputError: If the folder cannot be written.
        """
        return self._with(target_info={**self.manifest.target_info, **entries})

    def _with(self, **changes: Any) -> Artifact:
        text = self.manifest.model_copy(update=changes).to_text()
        changed = replace(self, manifest=Manifest.from_text(text, self.path))
        if native.is_noted(self.manifest):
            native.note(changed.manifest)
        atomic.write_text(self.path / MANIFEST, text)
        return changed


@dataclass
class Draft:
    """An artifact in the making.

    Attributes:
        path: The temporary folder; write the files here.
        manifest: Set this before the `with` block ends; its `files` and `digest` are filled in.
        finish: If set, what is done with the artifact before it gets its name; returns it with a newer manifest.
        artifact: The finished artifact, after the block.
    """

    path: Path
    manifest: Manifest | None = None
    finish: Callable[[Artifact], Artifact] | None = None
    artifact: Artifact | None = None


@contextmanager
def write_artifact(out: str | Path, force: bool = False) -> Iterator[Draft]:
    """Writes an artifact so that `out` appears whole or not at all, even if the process is killed.

    Args:
        out: The folder to make.
        force: Whether an artifact that is there already may be replaced; nothing else is ever replaced.

    Yields:
        A `Draft`: write files into `draft.path` and set `draft.manifest`.

    Raises:
        OutputError: Before any work, if `out` exists (without `force`) or cannot be written.
    """
    _refuse_name(out)
    with atomic.new_folder(Path(out), force=force, replaceable=_is_ours) as (folder, target):
        draft = Draft(folder)
        yield draft
        if draft.manifest is None:
            raise RuntimeError("write_artifact: draft.manifest was not set")
        names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        files = {name: file_info(folder / name) for name in names if name != MANIFEST}
        manifest = Manifest.model_validate({**draft.manifest.model_dump(), "files": files})
        text = manifest.to_text()
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        artifact = Artifact(folder, Manifest.from_text(text, folder))
        artifact = artifact if draft.finish is None else draft.finish(artifact)
        draft.artifact = replace(artifact, path=target)


def check_out(out: str | Path, force: bool = False) -> None:
    """Refuses what `write_artifact` would refuse, so that it can be told before long work.

    Raises:
        OutputError: If `out` exists (without `force`) or cannot be written.
    """
    _refuse_name(out)
    atomic.check_place(Path(out), force=force, replaceable=_is_ours)


def _refuse_name(out: str | Path) -> None:
    """Refuses a place whose name is no UTF-8: libraries that write an artifact's files in C++ take no other."""
    target = os.path.abspath(out)
    try:
        target.encode()
    except UnicodeEncodeError as error:
        said = f"{target!a} is no UTF-8"
        raise OutputError(said, expected="a folder whose name is", fix="choose another --out") from error


def _same_verdict(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two verifications say the same, wherever they ran."""
    return {**one, "provenance": None} == {**other, "provenance": None}


def file_info(path: Path) -> FileInfo:
    """Returns sum and size of a file."""
    with path.open("rb") as file:
        return FileInfo(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def _check_size(folder: Path, name: str, info: FileInfo) -> None:
    path = folder / name
    if not path.is_file():
        raise damaged(folder, f"{name} is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise damaged(folder, f"{name} is a link that leads out of the folder")
    size = path.stat().st_size
    if size != info.bytes:
        state = "truncated" if size < info.bytes else "longer than it was"
        raise damaged(folder, f"{name} is {state} ({size} of {info.bytes} bytes)")
    if size > _MOST_OF_ONNX and path.suffix == ".onnx":
        raise damaged(folder, f"{name} has {size:,} bytes, more than an ONNX file can have: its weights lie beside it")


def _is_ours(folder: Path) -> bool:
    """Returns whether `folder` holds an artifact, damaged or not, so that --force may replace it."""
    try:
        text = text_of(folder / MANIFEST)
    except (OSError, ValueError):
        return not any(os.scandir(folder)) if folder.is_dir() else False
    if FORMAT not in text[:256]:
        return False
    _refuse_strangers(folder, text)
    return True


def _refuse_strangers(folder: Path, text: str) -> None:
    """Refuses to replace a folder in which lie files that no export put there.

    Raises:
        OutputError: Names them.
    """
    try:
        known = {MANIFEST, *parse_json(text)["files"]}
    except (ValueError, LookupError, TypeError):
        # A damaged manifest: what it still names is the artifact's, anything else may be anybody's.
        known = {MANIFEST, *re.findall(r'"([^"\n]+)": \{\s*"sha256"', text)}
    held = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    others = sorted(path.as_posix() for path in held if path.as_posix() not in known)
    if others:
        raise OutputError(
            f"{folder} holds what is no part of the artifact: {', '.join(others[:3])}{', ...' if others[3:] else ''}",
            expected="with --force, a folder with nothing but an artifact",
            fix="move those files away, or choose another folder",
        )
