"""Random changes of training images, by torchvision, one image at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from neurokit.training.recipe import Augmentation

_WALL = 255  # what lies beyond the edge of a picture of a shadow


def augmentation(name: Augmentation, shadows: bool) -> Any:
    """Returns a transform of uint8 images `[C, H, W]`, or None.

    Args:
        name: "published": what HaSPeR's public notebook does before the threshold (blur, perspective, brightness,
            rotation, shift and shear, each for a quarter of the images, and a mirror). "strong": every image is
            mirrored by chance, turned, shifted, scaled and sheared, half are tilted; for training from nothing.
        shadows: Whether the images are dark on a bright wall: what comes in from beyond the edge is wall then, not
            black, which would be shadow. (The notebook leaves it black.)
    """
    from torchvision.transforms import v2

    fill = _WALL if shadows else 0
    if name == "none":
        return None
    if name == "published":
        moved = [v2.ColorJitter(brightness=0.5, hue=0.3), v2.RandomAffine(30, (0.1, 0.1), shear=15, fill=fill)]
        return v2.Compose(
            [
                v2.RandomApply([v2.GaussianBlur((5, 9), (0.1, 5.0))], 0.25),
                v2.RandomPerspective(0.6, 0.25, fill=fill),
                v2.RandomApply(moved, 0.25),
                v2.RandomHorizontalFlip(0.25),
            ]
        )
    bilinear = v2.InterpolationMode.BILINEAR
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomAffine(25, (0.12, 0.12), (0.85, 1.2), 12, interpolation=bilinear, fill=fill),
            v2.RandomPerspective(0.3, 0.5, fill=fill),
        ]
    )


_PRIMES = 1_000_003, 7_368_787  # so that neighbouring seeds, epochs and images share no stream


class Augmented(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images of bytes in memory, changed at random; the change depends on seed, epoch and image alone.

    Attributes:
        images: uint8 `[N, C, H, W]`.
        labels: int64 `[N]`.
        change: The transform, or None.
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, change: Any = None) -> None:
        self.images, self.labels, self.change = images, labels, change
        self._seed, self._order = 0, torch.arange(len(labels))

    def shuffled(self, seed: int, epoch: int) -> Augmented:
        """Returns the same images in the order of an epoch; whoever reads it from the front gets the same."""
        other = Augmented(self.images, self.labels, self.change)
        other._seed = (seed * _PRIMES[0] + epoch) % 2**40
        other._order = torch.randperm(len(self), generator=torch.Generator().manual_seed(other._seed))
        return other

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        index = int(self._order[place])
        image = self.images[index]
        if self.change is not None:
            with torch.random.fork_rng(devices=[]):
                # The CPU's generator alone: torch.manual_seed would note a traceback for each device that is not there.
                torch.default_generator.manual_seed(self._seed * _PRIMES[1] + index)
                image = self.change(image)
        return image, self.labels[index]
