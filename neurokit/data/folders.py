"""Labelled images from folders: one folder a class, read side by side, kept in a cache, bad files reported."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.looked import Look
from neurokit.data.prepare import picture_steps, prepared_pixels
from neurokit.data.readable import why_of
from neurokit.errors import InputError
from neurokit.plain import check_regular

if TYPE_CHECKING:
    from neurokit.spec import ModelSpec

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_SPLITS = (("train", "val"), ("train", "test"), ("train", "valid"))
_FORMAT = 1  # of the cache
_THREADS = 8
_SHOWN = 3

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FolderImages:
    """The images of a folder of class folders.

    Attributes:
        images: uint8 `[N, C, H, W]`.
        labels: int64 `[N]`, numbers of `classes`.
        classes: Names of the folders, in alphabetical order.
        unreadable: Path and reason of each file that is no image after all; they are left out.
        folder: Where they are from.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    folder: str


def training_parts(root: Path) -> tuple[Path, Path] | None:
    """Returns the folders of training and validation below a folder or its folder data.

    Returns:
        Both, or None where the class folders are to be split.

    Raises:
        InputError: If there is no such folder, or one to train on without one to validate on.
    """
    if not root.is_dir():
        raise InputError(
            f"there is no folder {root}", expected="puppets, or a folder with train/CLASS and val/CLASS of images"
        )
    for base in (root / "data", root):
        for names in _SPLITS:
            if all((base / name).is_dir() for name in names):
                return base / names[0], base / names[1]
    if "train" in class_folders(root):
        raise InputError(f"{root} holds a folder train and none to validate on", expected="a folder val beside it")
    return None


def class_folders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, in alphabetical order, without hidden ones."""
    return sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def read_folder(
    folder: str | Path,
    size: tuple[int, int],
    channels: int = 1,
    classes: Sequence[str] = (),
    cache: bool = True,
    progress: Progress | None = None,
    spec: ModelSpec | None = None,
) -> FolderImages:
    """Reads a folder of class folders, whose names in alphabetical order are the classes.

    Args:
        folder: The folder.
        size: Height and width that every image is resized to.
        channels: 1 for grey, 3 for colours.
        classes: What the class folders must be called; empty for any.
        cache: Whether decoded images are kept in the user's cache folder, and taken from there while no file changes.
        progress: Called with how many files are done, and of how many.
        spec: A model whose declared preprocessing makes the images, up to its arithmetic, in the place of resizing.

    Raises:
        InputError: If the folder is missing, its class folders are others, or a class has no readable image.
    """
    folder = Path(folder)
    names = _checked_classes(folder, classes)
    look = Look(folder)
    files = [(label, file) for label, name in enumerate(names) for file in look.below(folder / name, _is_image)]
    empty = sorted(set(range(len(names))) - {label for label, _ in files})
    if empty:
        raise InputError(
            f"class folder {folder / names[empty[0]]} holds no image", expected=f"files of {', '.join(IMAGES)}"
        )
    taken = _Taken(size, channels, None if spec is None or not spec.preprocess else spec)
    kept = _cache_file(folder, files, taken) if cache else None
    found = _from_cache(kept) if kept else None
    if found is None:
        found = _decoded(files, taken, progress)
        if kept:
            _to_cache(kept, *found)
    images, good, bad = found
    labels = np.array([files[at][0] for at in good], dtype=np.int64)
    unreadable = tuple((str(files[at][1]), why) for at, why in bad)
    _refuse_bare(folder, names, labels, unreadable)
    return FolderImages(images, labels, tuple(names), unreadable, str(folder))


def _checked_classes(folder: Path, classes: Sequence[str]) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", expected="a folder with one folder of images a class")
    names = class_folders(folder)
    if not names:
        raise InputError(f"{folder} holds no class folders", expected="one folder of images a class")
    if classes and names != sorted(classes):
        missing = [name for name in classes if name not in names]
        extra = [name for name in names if name not in classes]
        said = [f"lacks {_some(missing)}"] * bool(missing) + [f"has {_some(extra)}"] * bool(extra)
        raise InputError(
            f"{folder} {' and '.join(said)}",
            expected=f"the class folders {', '.join(sorted(classes))}",
            fix="rename the folders, or take a model that was made for these classes",
        )
    return names


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGES)


_Found = tuple[np.ndarray, list[int], list[tuple[int, str]]]  # images, their places, places that cannot be read


@dataclass(frozen=True)
class _Taken:
    """How images are taken: resized to a size, or by the preprocessing that a model declares."""

    size: tuple[int, int]
    channels: int
    spec: ModelSpec | None

    def said(self) -> list[Any]:
        """Returns what tells it from another way, for the name of a cache."""
        steps = [] if self.spec is None else [asdict(step) for step in picture_steps(self.spec.preprocess)]
        return [*self.size, self.channels, *steps]


def _decoded(files: list[tuple[int, Path]], taken: _Taken, progress: Progress | None) -> _Found:
    images = np.empty((len(files), taken.channels, *taken.size), np.uint8)
    bad: list[tuple[int, str]] = []

    def read(at: int) -> str:
        try:
            images[at] = _image(files[at][1], taken)
        except Exception as error:  # every decoder has exceptions of its own
            return why_of(error)
        return ""

    with ThreadPoolExecutor(_THREADS) as pool:  # Pillow decodes without the interpreter's lock
        for at, why in enumerate(pool.map(read, range(len(files)))):
            if why:
                bad.append((at, why))
            if progress:
                progress(at + 1, len(files))
    dropped = {at for at, _ in bad}
    good = [at for at in range(len(files)) if at not in dropped]
    return (images if not bad else images[good]), good, bad


def _image(path: Path, taken: _Taken) -> np.ndarray:
    from PIL import Image

    with Image.open(check_regular(path)) as image:
        if taken.spec is not None:
            pixels = prepared_pixels(image, taken.spec.inputs[0], taken.spec.preprocess)
            if pixels.shape != (taken.channels, *taken.size):
                raise ValueError(f"preprocessing gives {list(pixels.shape)} of it")
            return pixels
        mode = "L" if taken.channels == 1 else "RGB"
        pixels = np.asarray(image.convert(mode).resize((taken.size[1], taken.size[0])))
    return pixels[None] if taken.channels == 1 else pixels.transpose(2, 0, 1)


def _refuse_bare(folder: Path, names: Sequence[str], labels: np.ndarray, unreadable: Sequence[tuple[str, str]]) -> None:
    bare = [name for label, name in enumerate(names) if not (labels == label).any()]
    if bare:
        file, why = next((f, w) for f, w in unreadable if Path(f).is_relative_to(folder / bare[0]))
        raise InputError(
            f"no image of class folder {folder / bare[0]} can be read; {Path(file).name}: {why}",
            expected="at least one readable image a class",
        )


def _cache_file(folder: Path, files: list[tuple[int, Path]], taken: _Taken) -> Path:
    """Returns where the images are kept; its name changes with any file's name, size or time."""
    from platformdirs import user_cache_path

    digest = hashlib.sha256(json.dumps([_FORMAT, str(folder.resolve()), *taken.said()]).encode())
    for label, file in files:
        about = file.lstat()
        digest.update(
            f"{label} {file.relative_to(folder)} {about.st_size} {about.st_mtime_ns}\n".encode(errors="replace")
        )
    return user_cache_path("neurokit") / "images" / f"{digest.hexdigest()[:32]}.npz"


def _from_cache(path: Path) -> _Found | None:
    try:
        with np.load(path, allow_pickle=False) as data:
            bad = [(int(at), str(why)) for at, why in json.loads(str(data["bad"]))]
            return data["images"], [int(at) for at in data["good"]], bad
    except Exception:  # not there, or damaged: it is made again
        return None


def _to_cache(path: Path, images: np.ndarray, good: list[int], bad: list[tuple[int, str]]) -> None:
    """Keeps decoded images; where that is not possible they are decoded again next time."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, images=images, good=np.array(good, dtype=np.int64), bad=np.array(json.dumps(bad)))
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
