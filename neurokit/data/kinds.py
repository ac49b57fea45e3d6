"""Kinds of files that hold samples, by the ends of their names."""

from __future__ import annotations

from pathlib import Path

from neurokit.data.recordings import EVENT_FILES

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
VOLUMES = {".nii", ".nii.gz"}
KINDS = {*IMAGES, ".npy", ".npz", ".wav", *EVENT_FILES, *VOLUMES}


def kind_of(path: Path) -> str:
    """Returns the end of a file's name that says its kind, in small letters."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def is_readable(path: Path) -> bool:
    """Returns whether a file is of a kind that holds samples."""
    return kind_of(path) in KINDS
