"""Volumes of medical imaging: NIfTI files, read by nibabel."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import MissingRuntimeError

_BEHIND = 2**26  # bytes that may lie behind a volume


def read_volume(path: Path, sizes: tuple[int, ...]) -> np.ndarray:
    """Reads a .nii or .nii.gz file, in the units that its header states.

    Args:
        path: The file.
        sizes: Sizes of one sample of the model, with its channel first.

    Returns:
        `[C, Z, Y, X]` for a model of volumes; for one of pictures `[C, Y, X]`, or one sample a slice `[Z, C, Y, X]`.

    Raises:
        MissingRuntimeError: If nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise MissingRuntimeError(
            f"{path.name} is a NIfTI file, and nibabel is not installed", fix='pip install "neurokit-edge[volumes]"'
        ) from error
    image: Any = nibabel.load(path)
    array = np.asarray(image.get_fdata(dtype=np.float32)).T  # stored as x, y, z, t: the last axis varies slowest
    if path.suffix == ".gz":
        _refuse_damaged(path, image.dataobj.offset + array.nbytes)
    array = array.reshape([size for size in array.shape[: max(array.ndim - 3, 0)] if size > 1] + list(array.shape[-3:]))
    if sizes[0] != 1 or array.shape == sizes:
        return array
    if array.ndim == len(sizes) - 1:
        return array[None]
    return array[:, None] if array.ndim == len(sizes) else array  # slices of a model of pictures


def _refuse_damaged(path: Path, size: int) -> None:
    """Reads a compressed file to its end, where the sum over it stands.

    Raises:
        OSError: If it is damaged, or holds much more than its header says.
        EOFError: If it is cut.
    """
    left = 2 * size + _BEHIND  # numbers of 64 bits are read as 32
    with gzip.open(path) as file:
        while part := file.read(2**22):
            left -= len(part)
            if left < 0:
                raise OSError("it holds more than its header says")
