"""What tasks write of samples: where it goes, arrays, and masks as pictures of the numbers of classes."""

from __future__ import annotations

import colorsys
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import InputError, OutputError

_TURN = 0.381966  # of the circle of hues from class to class (golden section): neighbours differ, none comes twice


def mask_places(sources: Sequence[Any], out: Path, ending: str) -> list[Path]:
    """Returns a file in a folder for each sample, before any is run.

    Args:
        sources: Paths of the samples; what is no path is called by its place in the list.
        out: The folder.
        ending: Of the files' names.

    Raises:
        OutputError: If the folder is no folder.
        InputError: If two samples would have one name.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is no folder", expected="a folder to write to", fix="give another --out")
    names = [_stem(source, at) + ending for at, source in enumerate(sources)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"two samples would write {out / twice[0]}", expected="names that differ", fix="run them apart"
        )
    return [out / name for name in names]


def _stem(source: Any, at: int) -> str:
    if not isinstance(source, str | Path):
        return f"sample-{at + 1}"
    name = Path(source).name
    return name[:-7] if name.lower().endswith(".nii.gz") else Path(name).stem


def size_of(sample: Any) -> tuple[int, int] | None:
    """Returns height and width of a picture (a path, a PIL image or pixels of bytes), None for anything else."""
    if isinstance(sample, np.ndarray):
        return (sample.shape[0], sample.shape[1]) if sample.dtype == np.uint8 and sample.ndim in (2, 3) else None
    if hasattr(sample, "convert"):
        return sample.size[1], sample.size[0]
    if isinstance(sample, str | Path):
        from PIL import Image

        with Image.open(sample) as image:
            return image.size[1], image.size[0]
    return None


def write_mask(mask: np.ndarray, size: tuple[int, int] | None, path: Path) -> Path:
    """Writes a mask `[H, W]` as a picture, whole or not at all.

    Up to 256 classes it has one byte a pixel, the number of the class, and a palette to look at it by.

    Args:
        mask: Numbers of classes.
        size: Height and width to bring it to, each pixel that of the nearest place; None leaves it as it is.
        path: The file.
    """
    from PIL import Image

    wide = mask.dtype != np.uint8
    picture = Image.fromarray(mask.astype(np.uint16) if wide else mask)
    if size is not None:
        picture = picture.resize((size[1], size[0]), Image.Resampling.NEAREST)
    if not wide:
        picture.putpalette(palette(256))
    _written(picture.save, path)
    return path


def write_array(array: np.ndarray, path: Path) -> None:
    """Writes an array as a .npy file, whole or not at all."""
    _written(lambda part: np.save(part, array), path)


def _written(save: Callable[[Path], None], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        save(part)
        os.replace(part, path)


def palette(classes: int) -> list[int]:
    """Returns red, green and blue of every class, 0 to 255: black for class 0, then hues around the circle."""
    hues = (colorsys.hsv_to_rgb(at * _TURN % 1, 0.75, 1.0) for at in range(classes - 1))
    return [0, 0, 0, *(round(255 * part) for hue in hues for part in hue)]
