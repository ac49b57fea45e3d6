"""Segments volumes of any size with an artifact: from .nii.gz to .nii.gz (`neurokit run DIR FILE --out FOLDER`)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import pipeline
from neurokit.artifact import Artifact
from neurokit.data.kinds import VOLUMES, kind_of
from neurokit.data.of_artifact import spec_of
from neurokit.data.volumes import read_volume
from neurokit.errors import InputError, NeurokitError
from neurokit.tasks.masks import mask_places
from neurokit.tasks.scoring import task_named
from neurokit.tasks.sliding_window import slide

_TOLERANCE = 0.05  # by which the size of a voxel may be off, as a share


def takes_volumes(artifact: Artifact, files: Sequence[Path]) -> bool:
    """Returns whether an artifact segments volumes, and all of the files are such."""
    task = artifact.manifest.task
    ports = artifact.manifest.inputs
    if task is None or task.name != "segmentation" or len(artifact.manifest.graphs) > 1 or len(ports) != 1:
        return False
    return len(spec_of(artifact.manifest)[0].inputs[0].shape) == 4 and all(kind_of(file) in VOLUMES for file in files)


def segment(
    artifact: Artifact | str | Path,
    files: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    overlap: float = 0.5,
    **options: Any,
) -> list[dict[str, Any]]:
    """Segments volumes by windows that overlap.

    Args:
        artifact: The artifact, or its folder.
        files: NIfTI files with the modalities as their fourth axis.
        out: Folder for the masks, `NAME_mask.nii.gz` each, in the files' own space; None writes none.
        overlap: Share of a window that its neighbour covers too.
        options: Options of the target.

    Returns:
        For each file the share of voxels of every class (or region), and where the mask was saved.

    Raises:
        InputError: If a file is no volume of the needed modalities and spacing.
        MissingRuntimeError: If nibabel or the target's runtime is not installed.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    port = spec_of(artifact.manifest)[0].inputs[0]
    task, settings = task_named("segmentation", artifact.manifest.task.settings if artifact.manifest.task else {})
    places = [None] * len(files) if out is None else mask_places(files, Path(out), "_mask.nii.gz")
    volumes = [_read(Path(file), port.numbers, settings) for file in files]  # all, before anything is run
    found = []
    with pipeline.open(artifact, **options) as runner:

        def run(window: np.ndarray) -> np.ndarray:
            y = runner(window.astype(port.dtype))
            return np.asarray(next(iter(y.values())) if isinstance(y, Mapping) else y)

        for file, volume, place in zip(files, volumes, places, strict=True):
            scores = slide(run, volume, port.numbers[1:], overlap)
            mask = task.predict({"scores": scores[None]}, settings)[0]
            said = task.answer(mask, settings)["shares"]
            found.append({"shares": said, **({} if place is None else {"saved": str(_write(mask, Path(file), place))})})
    return found


def _read(path: Path, sizes: tuple[int, ...], settings: Mapping[str, Any]) -> np.ndarray:
    """Returns a volume `[C, Z, Y, X]` as the model takes it."""
    if not path.is_file():
        raise InputError(f"there is no file {path}", expected="a .nii or .nii.gz file")
    try:
        array, spacing = read_volume(path, sizes), _spacing(path)
    except NeurokitError:
        raise
    except Exception as error:  # nibabel and gzip have a dozen kinds
        raise InputError(
            f"{path} cannot be read: {' '.join(str(error).split())[:160]}", expected="a NIfTI file"
        ) from error
    channels = array.shape[0] if array.ndim == 4 else 1
    if array.ndim not in (3, 4) or channels != sizes[0]:
        raise InputError(
            f"{path} holds {channels} modalit{'y' if channels == 1 else 'ies'}, {list(array.shape)}",
            expected=f"{sizes[0]}, as the fourth axis of the file",
            fix="join the modalities with nibabel.concat_images",
        )
    wanted = settings.get("spacing_mm")
    if wanted and any(abs(a - b) > _TOLERANCE * b for a, b in zip(spacing, wanted, strict=True)):
        said, right = (" x ".join(f"{size:.3g}" for size in each) for each in (spacing, wanted))
        raise InputError(
            f"{path} has voxels of {said} mm",
            expected=f"{right} mm",
            fix="nibabel.processing.resample_to_output does that",
        )
    if not np.isfinite(array).all():
        raise InputError(f"{path} holds numbers that are not finite", expected="finite numbers")
    array = array if array.ndim == 4 else array[None]
    if settings.get("intensity") != "nonzero":
        return array
    empty = [str(at) for at, values in enumerate(array, 1) if not values.any()]
    if empty:  # 0 is what is not of the body
        raise InputError(
            f"{path} holds nothing but zeros in modality {', '.join(empty)}",
            expected=f"a scan in each of {len(array)}",
        )
    return _normalised(array)


def _spacing(path: Path) -> tuple[float, ...]:
    import nibabel

    image: Any = nibabel.load(path)
    return tuple(float(size) for size in image.header.get_zooms()[:3])


def _normalised(array: np.ndarray) -> np.ndarray:
    """Returns each modality with mean 0 and deviation 1 over its voxels that are not 0, which stay 0."""
    made = np.zeros_like(array, dtype=np.float32)
    for channel, values in zip(made, array, strict=True):
        inside = values != 0
        if inside.any():
            channel[inside] = (values[inside] - values[inside].mean()) / (values[inside].std() or 1.0)
    return made


def _write(mask: np.ndarray, source: Path, path: Path) -> Path:
    """Writes a mask `[Z, Y, X]` or `[K, Z, Y, X]` in its source's space, whole or not at all."""
    import nibabel

    image: Any = nibabel.load(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / "mask.nii.gz"
        nibabel.save(nibabel.Nifti1Image(mask.T, image.affine), part)
        os.replace(part, path)
    return path
