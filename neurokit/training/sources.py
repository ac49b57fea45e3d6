"""What a classifier is trained on: synthetic puppets, folders, or datasets that are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurokit.data.folders import FolderImages, Progress, read_folder, training_parts
from neurokit.data.prepare import picture_steps
from neurokit.errors import InputError
from neurokit.spec import ModelSpec
from neurokit.training.network import channels_of

PER_CLASS = (200, 50)  # synthetic puppets for training and for validation
_FREE = ("ToImage", "RGB", "Grayscale")  # steps that leave an image of the model's size and channels as it is
_HELD_OUT = 5  # one of so many images, where a folder has no split


@dataclass(frozen=True)
class Images:
    """One part of the data: uint8 `[N, C, H, W]`, classes int64 `[N]`, and what it is called."""

    x: torch.Tensor
    y: torch.Tensor
    name: str


@dataclass(frozen=True)
class Source:
    """Labelled images for training and for validation.

    Attributes:
        train: What is learned from.
        val: What is never learned from.
        classes: Names of the classes, or () where nobody says.
        synthetic: Whether the images were drawn, not photographed.
        shadows: Whether they are dark figures on a bright wall.
        unreadable: Path and reason of each file that was left out.
    """

    train: Images
    val: Images
    classes: tuple[str, ...]
    synthetic: bool = False
    shadows: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()


def open_source(
    data: Any, spec: ModelSpec, seed: int = 0, cache: bool = True, progress: Progress | None = None
) -> Source:
    """Returns the images of a data set as a model takes them: its size, grey or in colours, as bytes.

    Args:
        data: "puppets" or "puppets:N" (synthetic, N images a class to learn from, a quarter of it to validate on); a
            folder with `train/CLASS` and `val/CLASS` (or test, or valid; also below `data`), or with class folders
            alone, of which a fifth is held out; or two datasets (train, val) with `images` and `labels`.
        spec: The model.
        seed: Seed of synthetic images, and of what is held out.
        cache: Whether decoded images are kept for the next time.
        progress: Called with how many files are done, and of how many.

    Raises:
        InputError: If it is none of these, or not what the model takes.
    """
    channels = channels_of(spec)
    drawn = isinstance(data, tuple | list) or (str(data).partition(":")[0] == "puppets" and not Path(data).exists())
    if drawn and (steps := [step.name for step in picture_steps(spec.preprocess) if step.name not in _FREE]):
        raise InputError(
            f"the preprocessing begins with {', '.join(steps)}, and these images are of the model's size already",
            expected="a folder of pictures, or a preprocessing of ToDtype and Normalize alone",
        )
    if isinstance(data, tuple | list):
        source = _given(data, spec)
    elif drawn:
        source = _puppets(data, spec, channels, seed)
    else:
        source = _folders(Path(data), spec, channels, seed, cache, progress)
    _check(source, spec, channels)
    return source


def _puppets(data: str, spec: ModelSpec, channels: int, seed: int) -> Source:
    from neurokit.data.puppets import CLASSES, PuppetShapes

    _, colon, text = data.partition(":")
    if colon and not (text.isascii() and text.isdigit() and 4 <= int(text) <= 100_000):
        raise InputError(f"data is {data!r}", expected="puppets, or puppets:N with N images a class, 4 to 100000")
    if spec.classes and len(spec.classes) != len(CLASSES):
        raise InputError(
            f"model {spec.name!r} has {len(spec.classes)} classes, there are {len(CLASSES)} puppets", expected="as many"
        )
    counts = (int(text), -(-int(text) // 4)) if colon else PER_CLASS
    size = max(spec.inputs[0].numbers[1:])
    if size != min(spec.inputs[0].numbers[1:]):
        raise InputError(f"model {spec.name!r} takes images of {spec.inputs[0].numbers}", expected="square images")
    parts = []
    for split, count in (("train", counts[0]), ("test", counts[1])):
        shapes = PuppetShapes(split, count, size, seed)  # type: ignore[arg-type]
        parts.append(Images(shapes.images.expand(-1, channels, -1, -1), shapes.labels, shapes.name))
    return Source(parts[0], parts[1], CLASSES, synthetic=True, shadows=True)


def _folders(root: Path, spec: ModelSpec, channels: int, seed: int, cache: bool, progress: Progress | None) -> Source:
    parts = training_parts(root)
    size = (spec.inputs[0].numbers[1], spec.inputs[0].numbers[2])
    if parts is not None:
        train, val = (read_folder(part, size, channels, spec.classes, cache, progress, spec) for part in parts)
        if train.classes != val.classes:
            raise InputError(
                f"{val.folder} holds the classes {', '.join(val.classes)}",
                expected=f"those of {train.folder}: {', '.join(train.classes)}",
            )
        return _source(_images(train), _images(val), train, (*train.unreadable, *val.unreadable), spec)
    whole = read_folder(root, size, channels, spec.classes, cache, progress, spec)
    held = np.random.default_rng(seed).permutation(len(whole.labels)) % _HELD_OUT == 0
    return _source(_images(whole, ~held), _images(whole, held), whole, whole.unreadable, spec)


def _images(read: FolderImages, chosen: np.ndarray | None = None) -> Images:
    at = slice(None) if chosen is None else chosen
    part = "" if chosen is None else f" ({int(chosen.sum())} of {len(chosen)} images)"
    return Images(torch.from_numpy(read.images[at]), torch.from_numpy(read.labels[at]), f"{read.folder}{part}")


def _source(
    train: Images, val: Images, read: FolderImages, unreadable: tuple[tuple[str, str], ...], spec: ModelSpec
) -> Source:
    from neurokit.data.puppets.names import CLASSES

    return Source(train, val, read.classes, shadows=read.classes == CLASSES, unreadable=unreadable)


def _given(data: Sequence[Any], spec: ModelSpec) -> Source:
    """Takes datasets with `images` and `labels`."""
    if len(data) != 2 or not all(hasattr(part, "images") and hasattr(part, "labels") for part in data):
        raise InputError("the datasets given are not usable", expected="two, train and val, with images and labels")
    parts = [Images(p.images, p.labels, getattr(p, "name", "given dataset")) for p in data]
    synthetic = any("synthetic" in part.name for part in parts)
    classes = tuple(getattr(data[0], "classes", ()))
    return Source(parts[0], parts[1], classes, synthetic, shadows=synthetic)


def _check(source: Source, spec: ModelSpec, channels: int) -> None:
    """Refuses images of another shape or type, and classes that the model does not have."""
    expected = (channels, *spec.inputs[0].numbers[1:])
    for part in (source.train, source.val):
        if part.x.dtype != torch.uint8 or tuple(part.x.shape[1:]) != expected or len(part.x) != len(part.y):
            raise InputError(
                f"{part.name}: images {part.x.dtype} {list(part.x.shape)}, {len(part.y)} labels",
                expected=f"uint8 [N, {', '.join(map(str, expected))}], and a label each",
            )
        if not len(part.y):
            raise InputError(f"{part.name} holds no images", expected="at least one")
    if spec.classes and source.classes and len(spec.classes) != len(source.classes):
        raise InputError(
            f"model {spec.name!r} has {len(spec.classes)} classes, the data have {len(source.classes)}",
            expected="as many",
        )
