"""Volumes of medical imaging: NIfTI files, read by nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import MissingRuntimeError


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
    array = array.reshape([size for size in array.shape[: max(array.ndim - 3, 0)] if size > 1] + list(array.shape[-3:]))
    if sizes[0] != 1 or array.shape == sizes:
        return array
    if array.ndim == len(sizes) - 1:
        return array[None]
    return array[:, None] if array.ndim == len(sizes) else array  # slices of a model of pictures
