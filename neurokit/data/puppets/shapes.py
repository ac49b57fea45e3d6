"""Synthetic puppets as a torch Dataset."""

from __future__ import annotations

import torch

from neurokit.data.puppets.in_memory import LabelledPictures
from neurokit.data.puppets.names import CLASSES
from neurokit.data.puppets.render import Split, Strokes, render


class PuppetShapes(LabelledPictures):
    """Synthetic hand-shadow puppets of the 15 classes, drawn when the set is made.

    Attributes:
        images: Brightness, uint8 `[N, 1, size, size]`.
        labels: int64 `[N]`, numbers of `classes`.
        classes: Names of the classes.
        name: What the set is, for reports; says that it is synthetic.
    """

    def __init__(
        self,
        split: Split = "train",
        per_class: int = 200,
        size: int = 64,
        seed: int = 0,
        strokes: Strokes = "hands",
    ) -> None:
        """Draws the pictures; see `render` for the arguments."""
        images, labels = render(split, per_class, size, seed, strokes)
        self.images = torch.from_numpy(images).unsqueeze(1)
        self.labels = torch.from_numpy(labels)
        self.classes = CLASSES
        self.name = f"synthetic puppets ({strokes}, {split}, {per_class} a class, {size}x{size}, seed {seed})"
