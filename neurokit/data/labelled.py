"""Labelled data: inputs and the right answers, from arrays."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurokit.errors import InputError


@dataclass(frozen=True)
class Labelled:
    """Inputs and the right answers.

    Attributes:
        x: `[N, *shape]`, or `[N, T, *shape]` for sequences.
        y: Labels of the task, `[N]` or `[N, ...]` (masks, sequences); what they mean is checked by the task.
        name: Where it is from.
    """

    x: np.ndarray
    y: np.ndarray
    name: str = ""

    def __post_init__(self) -> None:
        if self.y.dtype.kind not in "iu" or self.x.dtype.kind not in "fiub":
            raise InputError(
                f"{self.name or 'labelled data'}: x holds {self.x.dtype}, y holds {self.y.dtype}",
                expected="numbers, and whole numbers as labels",
            )
        check_pairs(self.x, self.y, self.name or "labelled data")


def check_pairs(x: np.ndarray, y: np.ndarray, name: str) -> None:
    """Refuses labels that are not one for each input.

    Raises:
        InputError: If they are not, or if there are none.
    """
    if y.ndim < 1 or len(x) != len(y) or not len(x):
        raise InputError(f"{name}: x is {list(x.shape)}, y is {list(y.shape)}", expected="as many labels as inputs")


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns `x` and `y` of an .npz file as they are.

    Raises:
        InputError: If it is no such file.
    """
    try:
        if not path.is_file():
            raise OSError("it is no regular file")
        with np.load(path, allow_pickle=False) as data:
            return data["x"], data["y"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} holds no labelled data: {error}", expected="an .npz file with x and y") from error


def read_labelled(path: Path) -> Labelled:
    """Reads an .npz file with `x` and `y`.

    Raises:
        InputError: If it is no such file.
    """
    return Labelled(*read_arrays(path), path.name)
