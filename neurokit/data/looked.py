"""Looking through folders for samples, and not through a whole disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from neurokit.errors import InputError

_MOST_OTHERS = 20_000  # files and folders that are no samples
_OTHERS_EACH = 10  # and for every sample


class Look:
    """One look through the folders of a place.

    Args:
        place: What the user gave, for messages.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._taken, self._others = place, 0, 0

    def below(self, folder: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
        """Yields wanted files below a folder by name, without hidden ones (macOS writes ._NAME beside NAME).

        Raises:
            InputError: If next to nothing of what was looked at is wanted.
        """
        for place, inner, names in os.walk(folder):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            files = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
            found = [file for file in files if wanted(file)]
            self._taken += len(found)
            self._others += 1 + len(names) - len(found)
            if self._others > _MOST_OTHERS + _OTHERS_EACH * self._taken:
                raise InputError(
                    f"{self._place} holds more than {_MOST_OTHERS:,} files and folders that are no samples",
                    expected="a folder of samples, not one with all else",
                    fix="give the folder that holds the samples alone",
                )
            yield from found
