"""COCO annotations as labels: classes, boxes and masks of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.errors import InputError, MissingRuntimeError
from neurokit.plain import is_file


@dataclass(frozen=True)
class CocoLabel:
    """What COCO says of one image.

    Attributes:
        height: Rows of the picture that the annotations are of.
        width: Its columns.
        classes: Number of the class of every object, from 0 in the order of the categories' ids.
        boxes: Left, top, width and height of every object.
        shapes: Polygons or run lengths of every object.
    """

    height: int
    width: int
    classes: tuple[int, ...]
    boxes: tuple[tuple[float, ...], ...]
    shapes: tuple[Any, ...]

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """Returns the class of every pixel, `[H, W]`: 0 is background, class k is k + 1; later objects lie on top.

        Args:
            size: Height and width of the mask; the annotations are scaled to it.

        Raises:
            InputError: If a shape cannot be read.
        """
        found = np.zeros(size, dtype=np.int64)
        for number, shape in zip(self.classes, self.shapes, strict=True):
            found[_drawn(shape, self, size)] = number + 1
        return found

    def rows(self, size: tuple[int, int]) -> np.ndarray:
        """Returns rows of class, left, top, right, bottom, `[M, 5]`, scaled to a height and width."""
        down, across = size[0] / self.height, size[1] / self.width
        rows = [
            (number, x * across, y * down, (x + w) * across, (y + h) * down)
            for number, (x, y, w, h) in zip(self.classes, self.boxes, strict=True)
        ]
        return np.asarray(rows, dtype=np.float64).reshape(-1, 5)


def is_coco(data: Any) -> bool:
    """Returns whether JSON data are COCO annotations."""
    return isinstance(data, Mapping) and {"images", "annotations", "categories"} <= set(data)


def coco_items(data: Mapping[str, Any], path: Path) -> tuple[tuple[str, ...], list[tuple[Path, CocoLabel]]]:
    """Returns the names of the classes, and every image with its label.

    Raises:
        InputError: If an entry lacks something, or an image is missing.
    """
    try:
        categories = sorted(data["categories"], key=lambda entry: entry["id"])
        numbers = {entry["id"]: at for at, entry in enumerate(categories)}
        objects: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in data["annotations"]:
            objects[entry["image_id"]].append(entry)
        found = [
            (_image(path.parent, image["file_name"]), _label(image, objects[image["id"]], numbers))
            for image in sorted(data["images"], key=lambda entry: str(entry["file_name"]))
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is no whole COCO file: {error!r}", expected="images, annotations, categories"
        ) from error
    if not found:
        raise InputError(f"{path} lists no image", expected="images")
    return tuple(str(entry["name"]) for entry in categories), found


def _image(folder: Path, name: str) -> Path:
    for place in (folder / name, folder / "images" / name, folder.parent / "images" / name, folder.parent / name):
        if is_file(place):
            return place
    raise InputError(f"there is no image {name} beside the annotations in {folder}", expected="images beside them")


def _label(image: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], numbers: Mapping[Any, int]) -> CocoLabel:
    boxes = tuple(tuple(float(v) for v in entry.get("bbox", (0, 0, 0, 0))) for entry in objects)
    if any(len(box) != 4 for box in boxes):
        raise ValueError(f"a box of {image['file_name']} has not 4 numbers")
    classes = tuple(numbers[entry["category_id"]] for entry in objects)
    shapes = tuple(entry.get("segmentation") for entry in objects)
    return CocoLabel(int(image["height"]), int(image["width"]), classes, boxes, shapes)


def _drawn(shape: Any, label: CocoLabel, size: tuple[int, int]) -> np.ndarray:
    """Returns where an object is, as a mask of a size."""
    from PIL import Image, ImageDraw

    picture = Image.new("1", (size[1], size[0]))
    if isinstance(shape, list):
        scale = size[1] / label.width, size[0] / label.height
        for polygon in shape:
            points = [(x * scale[0], y * scale[1]) for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
            ImageDraw.Draw(picture).polygon(points, fill=1)
    elif isinstance(shape, Mapping):
        mask = _run_lengths(shape)
        picture = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST)
    else:
        raise InputError("an object of the COCO file has no segmentation", expected="polygons or run lengths")
    return np.asarray(picture, dtype=bool)


def _run_lengths(shape: Mapping[str, Any]) -> np.ndarray:
    """Returns a mask from run lengths, which go down the columns and begin with zeros."""
    height, width = shape["size"]
    counts = shape["counts"]
    if isinstance(counts, str):
        try:
            from pycocotools import mask
        except ImportError as error:
            raise MissingRuntimeError(
                "the COCO file holds compressed run lengths", expected="pycocotools", fix="pip install pycocotools"
            ) from error
        return np.asarray(mask.decode({"size": [height, width], "counts": counts.encode()}), dtype=np.uint8) * 255
    values = np.repeat(np.arange(len(counts)) % 2, counts)
    if values.size != height * width:
        raise InputError(f"run lengths cover {values.size} pixels", expected=f"{height} x {width}")
    return (values.reshape(width, height).T * 255).astype(np.uint8)
