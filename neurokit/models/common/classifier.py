"""The specification of an untrained image classifier of torchvision's, on ImageNet's port."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from neurokit.data.puppets.names import CLASSES
from neurokit.models.common.ports import imagenet_image
from neurokit.models.common.pretrained import load_torchvision
from neurokit.pretrained import Pretrained
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


def image_classifier(
    name: str,
    shape: tuple[int, int, int],
    make: Callable[[], nn.Module],
    seen: tuple[int, int, int, int],
    *,
    description: str,
    source: str,
    small: Callable[[], ModelSpec],
    published: str = "",
) -> ModelSpec:
    """Returns a classifier of the 15 hand-shadow puppets.

    Args:
        name: Name of the model.
        shape: Sizes of its image.
        make: Makes the network, with random weights.
        seen: Sizes of the images that its statistics are matched to, `[B, C, H, W]`: without that, random weights let
            the signal fade to nothing, where every comparison passes.
        description: One line on the model.
        source: Where it is published.
        small: Returns a model of the same parts and few of each.
        published: Its name in torchvision, whose weights it takes; "" for none.
    """

    def build() -> nn.Module:
        from neurokit.data.synthetic import images
        from neurokit.models.common.untrained import build_untrained

        return build_untrained(make, images(seen[0], seen[1:]))

    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        from neurokit.data.synthetic import images

        return images(batch, shape, seed)

    return ModelSpec(
        name=name,
        build=build,
        inputs=(imagenet_image(shape),),
        classes=CLASSES,
        description=description,
        source=source,
        example=example,
        small=small,
        pretrained=Pretrained(partial(load_torchvision, name=published), whole=False) if published else None,
    )
