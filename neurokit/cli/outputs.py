"""Files that commands write: refused before any work where something else would be lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from neurokit import atomic
from neurokit.errors import OutputError

Force = Annotated[
    bool, typer.Option("--force", help="Replace a file that neurokit did not write; its own reports are replaced.")
]

GENERATOR = '<meta name="generator" content="neurokit">'  # in every page that neurokit writes
_HEAD = 4096  # bytes of a page that hold it
_LARGEST = 2**28  # bytes of a file that is read to see what it is
# Keys by which a JSON file is known as one of ours: of bench, and of energy.
_KEYS = (frozenset({"report", "schema_version", "reports"}), frozenset({"network", "chips", "estimators", "tool"}))


def check_outputs(*places: Path | None, force: bool) -> None:
    """Refuses places that cannot be written, and files there that are none of neurokit's reports.

    Args:
        places: Files that a command will write; None for none.
        force: Whether any regular file may be replaced.

    Raises:
        OutputError: As said.
    """
    for path in places:
        if path is None:
            continue
        atomic.refuse_name(path)
        if not path.absolute().parent.is_dir():
            raise OutputError(
                f"there is no folder {path.absolute().parent}", expected="a place for the file", fix="create it first"
            )
        if path.exists() and not force and not is_own_report(path):
            raise OutputError(
                f"{path} exists and is no report of neurokit",
                expected="a new file, or a report that neurokit wrote",
                fix="choose another name, or add --force",
            )


def is_own_report(path: Path) -> bool:
    """Returns whether a file is empty, a page that neurokit wrote, or a JSON report of bench or energy."""
    try:
        size = path.stat().st_size
        if size == 0:
            return True
        with path.open("rb") as file:
            if GENERATOR.encode() in file.read(_HEAD):
                return True
        if size > _LARGEST:
            return False
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and any(keys <= found.keys() for keys in _KEYS)
