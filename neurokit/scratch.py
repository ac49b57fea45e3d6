"""Temporary folders that the next run removes where their process was killed."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "neurokit-scratch-"
_YOUNG_S = 60  # younger ones may be without their lock yet


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """Makes a temporary folder for a block.

    Its maker holds a lock on it, which the kernel drops however the process ends: so what a killed one left is known
    for certain.

    Args:
        kind: What it is for, in its name.
    """
    _clear_once(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{kind}-", ignore_cleanup_errors=True) as made:
        lock = os.open(made, os.O_RDONLY)
        try:
            with suppress(OSError):  # not every file system has locks; without one it is young, or stays
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(made)
        finally:
            os.close(lock)


@functools.cache
def _clear_once(folder: str) -> None:
    clear(Path(folder))


def clear(folder: Path) -> None:
    """Removes this user's temporary folders of processes that are no more.

    Args:
        folder: Where temporary folders are made.
    """
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if mine and time.time() - found.st_ctime > _YOUNG_S:
                _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
