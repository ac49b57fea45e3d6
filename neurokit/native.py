"""Machine code in artifacts: loaded where this user exported the artifact here, or said `neurokit trust`.

An artifact's digest says that it is whole, not who wrote it: whoever edits one can seal it again. What is data runs
in an interpreter that checks it; machine code (and C source, which is compiled and loaded) runs with the user's rights.
So the sum of what an export wrote is noted in the user's own data folder, and only what is noted there is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from neurokit.errors import OutputError, UntrustedCodeError, damaged

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.manifest import Manifest

_VERDICTS = {"parity", "digest"}  # what verification writes anew, and the sum over that
_noted: set[str] = set()  # of this process: a data folder may be impossible to write


def content_sum(manifest: Manifest) -> str:
    """Returns the sha256 of all that an artifact is but its last verification: every file's sum, ports, options."""
    # Without defaults: a later version's new fields leave the sum as it is.
    body = manifest.model_dump(mode="json", exclude=_VERDICTS, exclude_defaults=True)
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_noted(manifest: Manifest) -> bool:
    """Returns whether this user exported or trusted an artifact here."""
    found = content_sum(manifest)
    with suppress(OSError):
        return found in _noted or (notes() / found).is_file()
    return False


def note(manifest: Manifest, required: bool = False) -> None:
    """Notes that the code of an artifact may be loaded.

    Args:
        manifest: What the artifact holds.
        required: Whether to fail where the note does not outlive this process.

    Raises:
        OutputError: If it is required and the data folder cannot be written.
    """
    found = content_sum(manifest)
    _noted.add(found)
    try:
        notes().mkdir(mode=0o700, parents=True, exist_ok=True)
        (notes() / found).touch(mode=0o600)
    except OSError as error:
        if required:
            raise OutputError(f"{notes()} cannot be written: {error.strerror}", fix="set XDG_DATA_HOME") from error


def notes() -> Path:
    """Returns the folder of the notes, one empty file each; to take trust back, remove them."""
    from platformdirs import user_data_path

    return user_data_path("neurokit") / "trusted"


def refuse_unknown(artifact: Artifact) -> None:
    """Refuses an artifact whose code may not be loaded here, from its manifest alone.

    Raises:
        UntrustedCodeError: If this user neither exported nor trusted it here.
    """
    if not is_noted(artifact.manifest):
        raise UntrustedCodeError(
            f"{artifact.path} holds machine code that was not exported here, or was changed since: it is not loaded",
            expected="an artifact as your own export left it on this machine",
            fix=f"export the model here; or, if you would run its maker's programs: neurokit trust {artifact.path}",
        )


def need_noted(artifact: Artifact, names: Iterable[str]) -> None:
    """Refuses to load code of an artifact that is from elsewhere or was changed; a target calls it before loading.

    Args:
        artifact: The artifact.
        names: Its files that hold code; they are held against their sums once more.

    Raises:
        UntrustedCodeError: If this user neither exported nor trusted it here.
        ArtifactError: If one of the files is not what the manifest says.
    """
    refuse_unknown(artifact)
    for name in names:
        with artifact.file(name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != artifact.manifest.files[name].sha256:
                raise damaged(artifact.path, f"{name} was changed (sha256 mismatch)")
