"""The published HaSPeR data set, from its folders, as a torch Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from neurokit.data.folders import Progress, read_folder
from neurokit.data.puppets.in_memory import LabelledPictures
from neurokit.data.puppets.names import CLASSES
from neurokit.errors import InputError


class HandShadows(LabelledPictures):
    """One split of the HaSPeR images, grey and in one size.

    Attributes:
        images: Brightness, uint8 `[N, 1, size, size]`; where it was asked for, 255 for wall and 0 for shadow.
        labels: int64 `[N]`, numbers of `classes`.
        classes: Names of the classes.
        unreadable: Path and reason of each file that could not be read and was left out.
        name: What the set is, for reports.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "val"] = "train",
        size: int = 224,
        thresholded: bool = False,
        cache: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Reads the images.

        Args:
            root: The folder that holds `data/train/CLASS` and `data/val/CLASS`, or its folder `data`.
            split: Which of the two.
            size: Height and width.
            thresholded: Whether to apply HaSPeR's threshold (90 of 255) and dilation (3 x 3, of the wall). The models
                `puppets_*` do so themselves, in their graphs.
            cache: Whether decoded images are kept for the next time.
            progress: Called with how many files are done, and of how many.

        Raises:
            InputError: If folders are missing or others, or a class has no readable image.
        """
        read = read_folder(split_folder(root, split), (size, size), 1, CLASSES, cache, progress)
        self.images = torch.from_numpy(read.images)
        self.labels = torch.from_numpy(read.labels)
        self.classes, self.unreadable = read.classes, read.unreadable
        self.name = f"HaSPeR {split} ({len(self.labels)} images, {size}x{size})"
        if thresholded:
            self.images = _thresholded(self.images)


def split_folder(root: str | Path, split: str) -> Path:
    """Returns the folder of a split below a data set's folder.

    Raises:
        InputError: If there is none.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", expected="a folder with data/train/CLASS and data/val/CLASS")
    inside = [place for place in (root / "data" / split, root / split) if place.is_dir()]
    if not inside:
        raise InputError(
            f"{root} holds neither data/{split} nor {split}", expected="folders train and val, with a folder a class"
        )
    return inside[0]


def _thresholded(images: torch.Tensor, chunk: int = 256) -> torch.Tensor:
    """Returns 255 for wall and 0 for shadow, some images at a time."""
    from torch.nn.functional import max_pool2d

    walls = [max_pool2d((part > 90).half(), 3, 1, 1).bool() for part in images.split(chunk)]
    return torch.cat(walls).to(torch.uint8) * 255
