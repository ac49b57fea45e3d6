"""Random changes of training images: HaSPeR's by torchvision, an image at a time, and stronger ones by the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from neurokit.training.recipe import Augmentation

Change = Callable[[Tensor, Tensor, int], Tensor]
"""Changes images `[B, C, H, W]`, given their numbers `[B]` in the data and the seed of an epoch."""

_WALL = 255  # what lies beyond the edge of a picture of a shadow
_TURN, _SHEAR = math.radians(25), math.radians(12)
_MOVE, _SIZE, _TILT = 0.12, (0.85, 1.2), 0.15
_DRAWS = 8  # numbers that `Warped` draws for each image


def augmentation(name: Augmentation, shadows: bool) -> Change | None:
    """Returns what changes uint8 images `[B, C, H, W]`, or None.

    Args:
        name: "published": what HaSPeR's public notebook does before the threshold (blur, perspective, brightness,
            rotation, shift and shear, each for a quarter of the images, and a mirror). "strong": every image is
            mirrored by chance, turned, shifted, scaled and sheared, half are tilted; for training from nothing.
        shadows: Whether the images are dark on a bright wall: what comes in from beyond the edge is wall then, not
            black, which would be shadow. (The notebook leaves it black.)
    """
    fill = _WALL if shadows else 0
    if name == "none":
        return None
    return OneByOne(_published(fill)) if name == "published" else Warped(fill)


def _published(fill: int) -> Any:
    from torchvision.transforms import v2

    moved = [v2.ColorJitter(brightness=0.5, hue=0.3), v2.RandomAffine(30, (0.1, 0.1), shear=15, fill=fill)]
    return v2.Compose(
        [
            v2.RandomApply([v2.GaussianBlur((5, 9), (0.1, 5.0))], 0.25),
            v2.RandomPerspective(0.6, 0.25, fill=fill),
            v2.RandomApply(moved, 0.25),
            v2.RandomHorizontalFlip(0.25),
        ]
    )


class OneByOne:
    """A transform of torchvision for each image, with a stream of chance of its own.

    Args:
        transform: Takes uint8 `[C, H, W]`.
    """

    def __init__(self, transform: Any) -> None:
        self._transform = transform

    def __call__(self, images: Tensor, numbers: Tensor, seed: int) -> Tensor:
        """Returns the changed images."""
        changed = []
        with torch.random.fork_rng(devices=[]):
            for image, number in zip(images, numbers.tolist(), strict=True):
                # The CPU's generator alone: torch.manual_seed would note a traceback for each device that is not there.
                torch.default_generator.manual_seed(seed * _PRIMES[1] + number)
                changed.append(self._transform(image))
        return torch.stack(changed)


class Warped:
    """Turns, moves, scales, shears, mirrors and tilts a batch of images: one projective map each, sampled once.

    Args:
        fill: Brightness beyond the edge.
    """

    def __init__(self, fill: int) -> None:
        self._fill = fill
        self._drawn = torch.empty(0, _DRAWS)
        self._seed: int | None = None

    def __call__(self, images: Tensor, numbers: Tensor, seed: int) -> Tensor:
        """Returns the changed images."""
        draws = self._of(numbers, seed)
        height, width = images.shape[-2:]
        grid = _mapped(projections(draws), height, width)
        shifted = images.float() - self._fill
        found = F.grid_sample(shifted, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return (found + self._fill).round_().clamp_(0, 255).to(torch.uint8)

    def _of(self, numbers: Tensor, seed: int) -> Tensor:
        """Returns the draws of some images; an image has the same ones in whatever batch it is."""
        most = int(numbers.max()) + 1
        if seed != self._seed or most > len(self._drawn):
            rows = max(most, len(self._drawn))
            generator = torch.Generator().manual_seed(seed)
            self._drawn, self._seed = torch.rand(rows, _DRAWS, generator=generator), seed
        return self._drawn[numbers]


def projections(draws: Tensor) -> Tensor:
    """Returns maps from places in the new image to places in the old one, `[B, 3, 3]`, both from -1 to 1.

    Args:
        draws: Numbers `[B, 8]` from 0 to 1: turn, shear, size, two shifts, mirror, and two of the tilt.
    """
    turn, shear, size, right, down, mirror, tilted_x, tilted_y = draws.unbind(1)
    turn, shear = (2 * turn - 1) * _TURN, torch.tan((2 * shear - 1) * _SHEAR)
    scale = 1 / (_SIZE[0] + size * (_SIZE[1] - _SIZE[0]))
    flip = torch.where(mirror < 0.5, -scale, scale)
    tilt_x, tilt_y = (_tilt(draw) for draw in (tilted_x, tilted_y))
    one = torch.ones_like(turn)
    rows = [
        torch.stack([flip * turn.cos(), scale * (shear * turn.cos() - turn.sin()), 2 * _MOVE * (2 * right - 1)], 1),
        torch.stack([flip * turn.sin(), scale * (shear * turn.sin() + turn.cos()), 2 * _MOVE * (2 * down - 1)], 1),
        torch.stack([tilt_x, tilt_y, one], 1),
    ]
    return torch.stack(rows, 1)


def _tilt(draw: Tensor) -> Tensor:
    """Returns 0 for the lower half of the draws, and else something between -_TILT and _TILT."""
    return torch.where(draw < 0.5, 0.0, (4 * draw - 3) * _TILT)


def _mapped(maps: Tensor, height: int, width: int) -> Tensor:
    """Returns where each pixel of the new images is read, `[B, H, W, 2]`."""
    x = (2 * torch.arange(width) + 1) / width - 1
    y = (2 * torch.arange(height) + 1) / height - 1
    places = torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)], 2)
    found = places.reshape(1, -1, 3) @ maps.transpose(1, 2)
    return (found[..., :2] / found[..., 2:]).unflatten(1, (height, width))


_PRIMES = 1_000_003, 7_368_787  # so that neighbouring seeds, epochs and images share no stream


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Images of bytes in memory, changed at random; the change depends on seed, epoch and image alone.

    Attributes:
        images: uint8 `[N, C, H, W]`.
        labels: int64 `[N]`.
        change: What changes them, or None.
    """

    def __init__(self, images: Tensor, labels: Tensor, change: Change | None = None) -> None:
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

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        images, labels = self.__getitems__([place])
        return images[0], labels[0]

    def __getitems__(self, places: list[int]) -> tuple[Tensor, Tensor]:
        """Returns a batch at once, which torch's loader asks for where it can; `as_it_is` is its collation."""
        numbers = self._order[places]
        images = self.images[numbers]
        if self.change is not None:
            images = self.change(images, numbers, self._seed)
        return images, self.labels[numbers]


def as_it_is(batch: Any) -> Any:
    """Returns a batch that is one already."""
    return batch
