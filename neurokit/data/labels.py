"""Labels as they were found, as a task wants them: numbers of classes, masks, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.coco import CocoLabel
from neurokit.data.kinds import IMAGES, kind_of
from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.spec import ModelSpec

_SHOWN = 60  # characters of a wrong label that are told


def labels_of(found: Sequence[Any], classes: Sequence[str], spec: ModelSpec) -> np.ndarray:
    """Returns labels as one array.

    Args:
        found: Numbers, names of classes, paths of masks, or `CocoLabel`s.
        classes: Names of the classes in the order of their numbers; where the model's own names hold all of them, the
            model's order counts.
        spec: The model: names of its classes, its task, and the size of its input for masks and boxes.

    Raises:
        InputError: If a label cannot be read, or there are more classes than the model tells apart.
    """
    if any(isinstance(label, CocoLabel) for label in found):
        return _of_coco(found, spec)
    if any(isinstance(label, Path) for label in found):
        return np.stack([_mask(Path(label), _size(spec)) for label in found])
    if any(isinstance(label, str) for label in found):
        return _numbered([str(label) for label in found], classes, spec)
    try:
        array = np.stack([np.asarray(label) for label in found])
    except ValueError as error:
        raise InputError(f"labels are of different shapes: {error}", expected="one shape") from error
    if array.dtype.kind not in "iufb":
        raise InputError(f"labels are {array.dtype}", expected="numbers, names of classes, or paths of masks")
    return array.astype(np.int64) if array.dtype.kind in "iub" else array


def _numbered(names: Sequence[str], classes: Sequence[str], spec: ModelSpec) -> np.ndarray:
    """Returns names as numbers of classes."""
    place = {name: at for at, name in enumerate(order_of(classes, spec))}
    wrong = next((name for name in names if name not in place), None)
    if wrong is not None:  # a list in which other labels are names
        said = wrong if len(wrong) <= _SHOWN else f"{wrong[:_SHOWN]}..."
        raise InputError(f"a label is {said}, which is no name of a class", expected=f"one of {', '.join(place)}")
    return np.asarray([place[name] for name in names], dtype=np.int64)


def order_of(classes: Sequence[str], spec: ModelSpec) -> list[str]:
    """Returns the names of classes in the order of their numbers.

    Args:
        classes: The data's names.
        spec: The model, whose own names count where they hold all of them.

    Raises:
        InputError: If they are not the model's classes.
    """
    own = _own_classes(spec)
    order = own if own and set(classes) <= set(own) else list(classes)
    if own and len(classes) > len(own):
        raise InputError(
            f"the data have {len(classes)} classes, the model has {len(own)}",
            expected="folders or labels of the model's classes: " + ", ".join(own[:12]),
        )
    if own and order is not own and len(classes) != len(own):
        raise InputError(
            f"the data's classes {', '.join(classes[:6])} are not the model's ({', '.join(own[:6])})",
            expected="the model's names, or as many classes as the model has, which then count in the order of names",
            fix="name the folders as the model names its classes",
        )
    return order


def _own_classes(spec: ModelSpec) -> list[str]:
    settings = spec.task.settings if spec.task is not None else {}
    return [str(name) for name in settings.get("classes") or spec.classes]


def _size(spec: ModelSpec) -> tuple[int, int]:
    sizes = spec.inputs[0].numbers
    if len(sizes) != 3:
        raise InputError(f"the labels are of pictures, the model takes {list(sizes)}", expected="[C, H, W]")
    return sizes[1], sizes[2]


def _mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Reads a mask: a picture whose grey values or palette indices are classes, or a .npy file."""
    from PIL import Image

    try:
        if kind_of(path) in IMAGES:
            with Image.open(path) as image:
                plain = image if image.mode in ("P", "L", "I", "1") else image.convert("L")
                resized = plain.resize((size[1], size[0]), Image.Resampling.NEAREST)
                return np.asarray(resized).astype(np.int64)
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the mask {path} cannot be read: {error}", expected="a picture or a .npy file") from error
    if array.shape != size or array.dtype.kind not in "iub":
        raise InputError(
            f"the mask {path} is {array.dtype} {list(array.shape)}", expected=f"whole numbers {list(size)}"
        )
    return array.astype(np.int64)


def _of_coco(found: Sequence[CocoLabel], spec: ModelSpec) -> np.ndarray:
    """Returns COCO annotations as the model's task wants them: masks, boxes, or the one class of an image."""
    task = spec.task.name if spec.task is not None else "classification"
    if task == "segmentation":
        return np.stack([label.mask(_size(spec)) for label in found])
    if task == "detection":
        rows = [label.rows(_size(spec)) for label in found]
        most = max(max(len(each) for each in rows), 1)
        filled = np.full((len(rows), most, 5), -1.0)
        for at, each in enumerate(rows):
            filled[at, : len(each)] = each
        return filled
    several = [label for label in found if len(set(label.classes)) != 1]
    if several or task != "classification":
        raise InputError(
            f"COCO annotations with {len(several)} images of not exactly one class, for the task {task}",
            expected="the task segmentation or detection, or one class an image",
        )
    return np.asarray([label.classes[0] for label in found], dtype=np.int64)
