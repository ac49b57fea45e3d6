"""Whether a full disk is behind an error, in whatever words it came.

Libraries and compilers that write files themselves say so in words of their own, fail at what they read back, or say
nothing at all: so the words are looked at, and whether anything can still be written.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from neurokit.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, the user's share is used up, a file may not be larger
_PROBE = 2**16


class FullDiskError(OutputError):
    """A disk without room for what is written."""


def how_to_write(error: OSError) -> str:
    """Returns how to mend that a file cannot be written."""
    return "free some space" if error.errno in FULL else "choose a place you may write to"


def is_full_disk(error: BaseException) -> bool:
    """Returns whether an error says that a disk is full, or came of one that does."""
    return any(isinstance(cause, FullDiskError) or _says_so(cause) for cause in _causes(error))


def full_disk(error: Exception, folder: Path, target: Path) -> OutputError | None:
    """Returns what to say of an error behind which there is a full disk, or None where there is none.

    Args:
        error: What ended the writing.
        folder: Where it was written, with all that is there already.
        target: What the user knows that place by.
    """
    said = any(_says_so(cause) for cause in _causes(error))
    if isinstance(error, OutputError) and not said:
        return None
    temporary = _temporary()
    if _is_full(folder):
        return _full(f"{target} cannot be written", "choose another place")
    if temporary is not None and _is_full(temporary):
        return _full(f"the temporary folder {temporary} cannot be written", "set TMPDIR to another folder")
    if said:  # what was half written is gone already
        either = "choose another place, or set TMPDIR to another folder"
        return _full(f"{target}, or what is put into {temporary} on the way, cannot be written", either)
    return None


def _full(what: str, otherwise: str) -> OutputError:
    return FullDiskError(
        f"{what}: the disk is full", expected="space for all files", fix=f"free some space, or {otherwise}"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _says_so(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return not isinstance(error, OutputError) and any(os.strerror(number) in str(error) for number in FULL)


def _temporary() -> Path | None:
    with suppress(OSError):  # there is none that can be written
        return Path(tempfile.gettempdir())
    return None


def _is_full(place: Path) -> bool:
    """Returns whether a file of `_PROBE` bytes cannot be written at a place."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(_PROBE))
            file.flush()
    except OSError as error:
        return error.errno in FULL
    return False
