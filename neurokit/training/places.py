"""The folder of a training: whose it is, and what is left of it where a training ends before its first epoch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neurokit.atomic import clear_partials
from neurokit.disk_space import full_disk
from neurokit.errors import NeurokitError

WEIGHTS, RECORD, CHECKPOINT = "weights.safetensors", "record.json", "last.ckpt"
EVENTS = "tensorboard"


def is_begun(folder: Path) -> bool:
    """Returns whether a folder holds nothing but what a training leaves that was killed in its first epoch."""
    return all(path.name == EVENTS or ".partial-" in path.name for path in folder.iterdir())


@contextmanager
def whole_or_gone(folder: Path) -> Iterator[None]:
    """Leaves no folder where a training ends before its first epoch has, and tells a full disk as such.

    Args:
        folder: Where it trains, which is checked.

    Raises:
        OutputError: If the disk is full.
    """
    new = not folder.exists()
    empty = new or is_begun(folder)
    clear_partials(folder)
    try:
        yield
    except BaseException as error:
        full = None
        if isinstance(error, Exception) and not isinstance(error, NeurokitError):
            full = full_disk(error, folder, folder)
        if empty and not (folder / CHECKPOINT).is_file():
            shutil.rmtree(folder / EVENTS, ignore_errors=True)
            with suppress(OSError):  # there is none, or something else was put there
                if new:
                    folder.rmdir()
        if full is not None:
            raise full from error
        raise
