"""What PyTorch's loader unpacks of a package: noted before it does, and removed by the next load where it was killed.

The loader makes a folder in /tmp of a name that nobody knows beforehand. So a note of what is in the package, and of
when it was begun, is locked during the load, and on a GPU, whose kernels are read from the folder when they first run,
as long as the process lives. The kernel drops the lock however a process ends. A folder is removed if it is this
user's, was made after such a note was begun, holds files that the note names, and no process has a library of it open.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import json
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PREFIX = "neurokit-loading-"
_FOLDERS = Path("/tmp")  # where the loader makes them, whatever TMPDIR says
_NAME = re.compile(r"[A-Za-z0-9]{6}")
_LIBRARY = re.compile(r" (/tmp/[A-Za-z0-9]{6})/.*/?data/aotinductor/.*\.so$", re.MULTILINE)
_YOUNG_S = 60  # younger notes may be without their lock yet, and younger folders be one that is being unpacked


@dataclass(frozen=True)
class _Note:
    """What is noted of a load.

    Attributes:
        begun: When, in seconds since the epoch.
        names: The package's compiled files.
    """

    begun: float
    names: tuple[str, ...]


@contextmanager
def noted(package: Path, *, kept: bool) -> Iterator[None]:
    """Notes a load for the block, and removes what killed ones left; behind it what it unpacked, where that may go.

    Args:
        package: The package.
        kept: Whether what is unpacked is needed as long as this process lives, as on a GPU, whose kernels are read from
            it when they first run. On a CPU all is in memory, and a killed process would leave the folder.
    """
    _clear_once()
    before = _libraries()
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX)
    try:
        with suppress(OSError):  # without locks, or on a full disk, a killed process leaves its folder
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, json.dumps({"begun": time.time(), "names": _compiled(package)}).encode())
        yield
    except BaseException:
        _drop(descriptor, name)
        raise
    if kept:
        atexit.register(_drop, descriptor, name)
        return
    for folder in _libraries() - before:
        shutil.rmtree(folder, ignore_errors=True)
    _drop(descriptor, name)


def _compiled(package: Path) -> list[str]:
    """Returns the compiled files of a package, whose names are sums of what is in them."""
    try:
        with zipfile.ZipFile(package) as archive:
            return [name for name in archive.namelist() if "data/aotinductor/" in name]
    except (OSError, zipfile.BadZipFile):
        return []


def _drop(descriptor: int, name: str) -> None:
    with suppress(OSError):
        os.unlink(name)
    os.close(descriptor)


@functools.cache
def _clear_once() -> None:
    clear(Path(tempfile.gettempdir()), _FOLDERS)


def clear(notes: Path, folders: Path) -> None:
    """Removes what loads of killed processes of this user left.

    Args:
        notes: Where loads are noted.
        folders: Where the loader makes its folders.
    """
    dead, living = dict[Path, _Note](), list[_Note]()
    for path in notes.glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            if not _old(path, stat.S_ISREG):
                continue
            note, locked = _read(path)
            living += [note] if locked else []
            dead |= {} if locked else {path: note}
    if not dead:
        return
    opened = _opened(folders)
    for folder in folders.iterdir():
        with suppress(OSError):
            if _NAME.fullmatch(folder.name) and folder.name not in opened and _old(folder, stat.S_ISDIR):
                made = folder.lstat().st_ctime
                own = any(_of(note, folder, made) for note in dead.values())
                if own and not any(_of(note, folder, made) for note in living):
                    shutil.rmtree(folder, ignore_errors=True)
    for path in dead:
        with suppress(OSError):
            path.unlink()


def _old(path: Path, kind: Any) -> bool:
    """Returns whether a path is of a kind, this user's and no young one."""
    found = path.lstat()
    return kind(found.st_mode) and found.st_uid == os.getuid() and time.time() - found.st_ctime > _YOUNG_S


def _read(path: Path) -> tuple[_Note, bool]:
    """Returns a note, and whether its process lives; one that cannot be read is of no package."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = False
        except OSError:
            locked = True
        try:
            said = json.loads(os.read(descriptor, 1 << 20))
            return _Note(float(said["begun"]), tuple(str(name) for name in said["names"])), locked
        except (ValueError, TypeError, KeyError, RecursionError):
            return _Note(0.0, ()), locked
    finally:
        os.close(descriptor)


def _of(note: _Note, folder: Path, made: float) -> bool:
    """Returns whether a folder is what a load unpacked."""
    inside = (folder / name for name in note.names if ".." not in Path(name).parts and not name.startswith("/"))
    return made >= note.begun - 1 and any(path.is_file() for path in inside)


def _opened(folder: Path) -> set[str]:
    """Returns the names of the folders in another from which some process has a file open in its memory."""
    within = re.compile(f" {re.escape(str(folder))}/([A-Za-z0-9]{{6}})/")
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        found |= set(within.findall(_maps(process)))
    return found


def _libraries() -> set[str]:
    """Returns the folders from which this process has libraries of packages: the loader's, which are in /tmp always."""
    return set(_LIBRARY.findall(_maps(Path("/proc/self"))))


def _maps(process: Path) -> str:
    """Returns which files a process has in its memory, "" of another user's, of one that is gone, and not on Linux."""
    try:
        return (process / "maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
