"""Classifiers of hand-shadow puppets that take a picture of bytes: threshold, dilation and size are in the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neurokit.data.puppets.names import CLASSES
from neurokit.pretrained import Pretrained
from neurokit.spec import ModelSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CALIBRATED_ON = 64  # pixels; statistics of untrained networks need no more
_SHADOW_IS_ONE = ((1.0,), (-1.0,))  # walls 1 and shadows 0 become 0 and 1: spikes where the shadow is
_MOBILENET = "Sandler et al., MobileNetV2, CVPR 2018; preprocessing of the HaSPeR data set"
_RESNET = "He et al., Deep Residual Learning, CVPR 2016; preprocessing of the HaSPeR data set"


@register_model
def puppets_mobilenet_v2_035() -> ModelSpec:
    """MobileNetV2 of width 0.35 on 64 x 64 pictures; the network sees zeros and ones.

    Its pretrained weights are from `benchmarks/puppets_training.py`: synthetic puppets, 60 epochs on one H200.
    """
    from neurokit.models.common.pretrained import load_shipped

    spec = _spec("puppets_mobilenet_v2_035", _MOBILENET, 64, _SHADOW_IS_ONE, _mobilenet_035, small_mobilenet)
    path = Path(__file__).parent / f"{spec.name}.safetensors"
    return replace(spec, pretrained=Pretrained(partial(load_shipped, path=path)))


@register_model
def puppets_mobilenet_v2() -> ModelSpec:
    """MobileNetV2 on 224 x 224 pictures, with ImageNet's normalisation."""
    return _of_imagenet("puppets_mobilenet_v2", _MOBILENET, "mobilenet_v2")


@register_model
def puppets_resnet34() -> ModelSpec:
    """ResNet-34 on 224 x 224 pictures, with ImageNet's normalisation.

    Its small twin is that of the others: the preprocessing is what is new, and `resnet34` has its own twin.
    """
    return _of_imagenet("puppets_resnet34", _RESNET, "resnet34")


def small_mobilenet() -> ModelSpec:
    """Four of MobileNetV2's seventeen blocks for 32 x 32 pixels, on pictures of 48 x 48."""

    def make() -> nn.Module:
        from torchvision.models import MobileNetV2

        settings = [[1, 8, 1, 1], [6, 8, 2, 2], [6, 16, 1, 2]]  # expansion, width, blocks, stride
        return _of_one_channel(MobileNetV2(len(CLASSES), width_mult=0.35, inverted_residual_setting=settings))

    return _spec("puppets_mobilenet_small", _MOBILENET, 32, _SHADOW_IS_ONE, make, small_mobilenet, picture=48)


def _of_imagenet(name: str, source: str, published: str) -> ModelSpec:
    """Returns a network of torchvision's on pictures of ImageNet's size, whose weights it takes."""
    from neurokit.models.common.pretrained import load_torchvision

    spec = _spec(name, source, 224, _IMAGENET, partial(_published, published), small_mobilenet)
    return replace(spec, pretrained=Pretrained(lambda module: load_torchvision(module.network, published), False))


def _published(name: str) -> nn.Module:
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=len(CLASSES))


def _mobilenet_035() -> nn.Module:
    from torchvision.models import MobileNetV2

    return _of_one_channel(MobileNetV2(len(CLASSES), width_mult=0.35))


def _of_one_channel(network: nn.Module) -> nn.Module:
    """Makes the first convolution one of a single channel: a shadow has no colours."""
    from torch import nn

    first = network.features[0][0]
    network.features[0][0] = nn.Conv2d(1, first.out_channels, 3, 2, 1, bias=False)
    nn.init.kaiming_normal_(network.features[0][0].weight, mode="fan_out")
    return network


def _spec(
    name: str,
    source: str,
    size: int,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    make: Callable[[], nn.Module],
    small: Callable[[], ModelSpec],
    picture: int = 0,
) -> ModelSpec:
    picture = picture or size

    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        from neurokit.data.puppets.pictures import pictures

        return pictures(batch, picture, seed)

    def build() -> nn.Module:
        from neurokit.data.puppets.pictures import pictures
        from neurokit.models.common.silhouette import OfShadows, Silhouette
        from neurokit.models.common.untrained import build_untrained

        seen = Silhouette(min(size, _CALIBRATED_ON), *normalisation)(pictures(4, _CALIBRATED_ON, 0))
        return OfShadows(Silhouette(size, *normalisation), build_untrained(make, seen)).eval()

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("image", (1, picture, picture), "uint8", high=255, meaning="brightness of a grey picture"),),
        classes=CLASSES,
        description=f"hand-shadow puppets from grey bytes, {size} x {size}, preprocessing in the graph",
        source=source,
        example=example,
        small=small,
    )
