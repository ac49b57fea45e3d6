"""Convolutional networks without neurons: torchvision bodies with a head for 15 hand-shadow puppets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.spec import ModelSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SHAPE = (3, 224, 224)
PUPPETS = (
    "bird",
    "chicken",
    "cow",
    "crab",
    "deer",
    "dog",
    "elephant",
    "horse",
    "llama",
    "moose",
    "panther",
    "rabbit",
    "snail",
    "snake",
    "swan",
)


@register_model
def mobilenet_v2() -> ModelSpec:
    """MobileNetV2 with 2,243,087 parameters."""
    return _spec("mobilenet_v2", "Sandler et al., MobileNetV2, CVPR 2018; classes of the HaSPeR data set")


@register_model
def resnet34() -> ModelSpec:
    """ResNet-34 with 21,292,367 parameters."""
    return _spec("resnet34", "He et al., Deep Residual Learning, CVPR 2016; classes of the HaSPeR data set")


def _spec(name: str, source: str) -> ModelSpec:
    def build() -> nn.Module:
        from torchvision.models import get_model

        from neurokit.data.synthetic import images
        from neurokit.models.common.untrained import build_untrained

        # Without statistics to match, random weights let the signal fade to nothing, where every comparison passes.
        return build_untrained(lambda: get_model(name, weights=None, num_classes=len(PUPPETS)), images(4, (3, 64, 64)))

    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        from neurokit.data.synthetic import images

        return images(batch, SHAPE, seed)

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("image", SHAPE, low=-2.118, high=2.640),),  # ImageNet's normalisation of [0, 1]
        classes=PUPPETS,
        description="convolutional network, 15 hand-shadow puppets",
        source=source,
        example=example,
    )
