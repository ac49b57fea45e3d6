"""Convolutional networks without neurons: torchvision bodies with a head for 15 hand-shadow puppets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from neurokit.data.puppets.names import CLASSES as PUPPETS
from neurokit.models.common.classifier import image_classifier
from neurokit.spec import ModelSpec, register_model

if TYPE_CHECKING:
    from torch import nn

SHAPE = (3, 224, 224)
SMALL_SHAPE = (3, 64, 64)
MOBILENET = "Sandler et al., MobileNetV2, CVPR 2018; classes of the HaSPeR data set"
RESNET = "He et al., Deep Residual Learning, CVPR 2016; classes of the HaSPeR data set"


@register_model
def mobilenet_v2() -> ModelSpec:
    """MobileNetV2 with 2,243,087 parameters."""
    return _spec("mobilenet_v2", MOBILENET, SHAPE, lambda: _published("mobilenet_v2"), mobilenet_small, True)


@register_model
def resnet34() -> ModelSpec:
    """ResNet-34 with 21,292,367 parameters."""
    return _spec("resnet34", RESNET, SHAPE, lambda: _published("resnet34"), resnet_small, True)


def mobilenet_small() -> ModelSpec:
    """Five of MobileNetV2's seventeen blocks, with and without a shortcut, stride and expansion."""

    def make() -> nn.Module:
        from torchvision.models import MobileNetV2

        settings = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]  # expansion, width, blocks, stride
        return MobileNetV2(len(PUPPETS), inverted_residual_setting=settings)

    return _spec("mobilenet_small", MOBILENET, SMALL_SHAPE, make, mobilenet_small)


def resnet_small() -> ModelSpec:
    """ResNet-34 with one block a stage instead of three to six."""

    def make() -> nn.Module:
        from torchvision.models.resnet import BasicBlock, ResNet

        return ResNet(BasicBlock, [1, 1, 1, 1], len(PUPPETS))

    return _spec("resnet_small", RESNET, SMALL_SHAPE, make, resnet_small)


def _published(name: str) -> nn.Module:
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=len(PUPPETS))


def _spec(
    name: str,
    source: str,
    shape: tuple[int, int, int],
    make: Callable[[], nn.Module],
    small: Callable[[], ModelSpec],
    published: bool = False,
) -> ModelSpec:
    return image_classifier(
        name,
        shape,
        make,
        (4, *SMALL_SHAPE),
        description="convolutional network, 15 hand-shadow puppets",
        source=source,
        small=small,
        published=name if published else "",
    )
