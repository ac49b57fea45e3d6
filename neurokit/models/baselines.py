"""The classifiers that HaSPeR compares, by torchvision's names, with a head for its 15 classes: one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from neurokit.data.puppets.names import CLASSES
from neurokit.models.common.classifier import image_classifier
from neurokit.spec import MODELS, ModelSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Baseline:
    """One row of the table.

    Attributes:
        source: Authors and venue.
        size: Height and width of its input.
        smallest: Smallest height and width that it takes, on which checks run it.
        settings: What torchvision's constructor gets besides the number of classes.
    """

    source: str
    size: int = 224
    smallest: int = 64
    settings: tuple[tuple[str, Any], ...] = ()


_RESNET = "He et al., Deep Residual Learning, CVPR 2016"
_MOBILE_V3 = "Howard et al., MobileNetV3, ICCV 2019"
_RESNEXT = "Xie et al., ResNeXt, CVPR 2017"
_SWIN = "Liu et al., Swin Transformer, ICCV 2021"
_CONVNEXT = "Liu et al., ConvNeXt, CVPR 2022"
_VGG = "Simonyan and Zisserman, VGG, ICLR 2015"
_NO_AUX = (("aux_logits", False), ("init_weights", True))

# mobilenet_v2 and resnet34 are in `torchvision_cnns`.
BASELINES = {
    "alexnet": Baseline("Krizhevsky, One weird trick, 2014"),
    "convnext_large": Baseline(_CONVNEXT),
    "convnext_tiny": Baseline(_CONVNEXT),
    "densenet121": Baseline("Huang et al., DenseNet, CVPR 2017"),
    "efficientnet_b0": Baseline("Tan and Le, EfficientNet, ICML 2019"),
    "googlenet": Baseline("Szegedy et al., Going Deeper with Convolutions, CVPR 2015", settings=_NO_AUX),
    "inception_v3": Baseline("Szegedy et al., Inception-v3, CVPR 2016", 299, 96, settings=_NO_AUX),
    "maxvit_t": Baseline("Tu et al., MaxViT, ECCV 2022", smallest=224),
    "mnasnet1_0": Baseline("Tan et al., MnasNet, CVPR 2019"),
    "mobilenet_v3_large": Baseline(_MOBILE_V3),
    "mobilenet_v3_small": Baseline(_MOBILE_V3),
    "regnet_y_400mf": Baseline("Radosavovic et al., RegNet, CVPR 2020"),
    "resnet101": Baseline(_RESNET),
    "resnet152": Baseline(_RESNET),
    "resnet18": Baseline(_RESNET),
    "resnet50": Baseline(_RESNET),
    "resnext101_32x8d": Baseline(_RESNEXT),
    "resnext50_32x4d": Baseline(_RESNEXT),
    "shufflenet_v2_x1_0": Baseline("Ma et al., ShuffleNet V2, ECCV 2018"),
    "squeezenet1_1": Baseline("Iandola et al., SqueezeNet, 2016"),
    "swin_b": Baseline(_SWIN),
    "swin_t": Baseline(_SWIN),
    "vgg16": Baseline(_VGG),
    "vgg19": Baseline(_VGG),
    "vit_b_16": Baseline("Dosovitskiy et al., ViT, ICLR 2021", smallest=224),
    "wide_resnet50_2": Baseline("Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016"),
}


def network(name: str) -> nn.Module:
    """Returns a baseline's network as torchvision makes it, for 15 classes, with random weights."""
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=len(CLASSES), **dict(BASELINES[name].settings))


def _spec(name: str, size: int) -> ModelSpec:
    """Returns a baseline on images of a size."""
    row = BASELINES[name]
    return image_classifier(
        name,
        (3, size, size),
        lambda: network(name),
        (2, 3, row.smallest, row.smallest),
        description="baseline of HaSPeR, 15 hand-shadow puppets",
        source=f"{row.source}; torchvision",
        small=partial(small, name),
        published=name,
    )


def small(name: str) -> ModelSpec:
    """Returns a baseline on the smallest images that it takes."""
    return _spec(name, BASELINES[name].smallest)


def _factory(name: str) -> Callable[[], ModelSpec]:
    return partial(_spec, name, BASELINES[name].size)


for _name in BASELINES:
    MODELS.add(_name, _factory(_name))
