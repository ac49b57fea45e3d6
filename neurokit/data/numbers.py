"""Numbers of a JSON file: written out, or in a .npy file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import InputError

_EXPECTED = "numbers, or the path of a .npy file beside the JSON file"


def numbers_of(value: Any, label: str, folder: Path) -> np.ndarray:
    """Returns finite numbers as an array.

    Args:
        value: A number, lists of them, or the path of a .npy file.
        label: What to call them in a message.
        folder: From where paths count.

    Raises:
        InputError: If they are something else, or lists of different lengths.
    """
    try:
        array = np.load(folder / value, allow_pickle=False) if isinstance(value, str) else np.asarray(value)
    except (OSError, ValueError, EOFError) as error:
        said = " ".join(str(error).split())[:160]
        raise InputError(f"{label} cannot be read: {said}", expected=_EXPECTED) from error
    if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
        raise InputError(f"{label} holds no finite numbers", expected=_EXPECTED)
    return array
