"""EAR-U-Net: a mask by an EfficientNet encoder with attention gates, which are outputs too."""

from __future__ import annotations

from neurokit.models.common.segmenter import segmenter
from neurokit.spec import ModelSpec, register_model

SOURCE = "Jiang et al., EAR-U-Net, 2022; timm's encoder (Apache-2.0), decoder filled in from the description"
GATES = ("gate_16", "gate_8", "gate_4", "gate_2")  # by stride


@register_model
def ear_unet() -> ModelSpec:
    """EfficientNet-B4 at 224 px: 19,684,077 parameters, 16,742,216 of them the encoder's."""
    return _spec("ear_unet", "efficientnet_b4", (256, 128, 64, 32, 16), 224)


def ear_unet_small() -> ModelSpec:
    """The smallest EfficientNet of timm on images of 64 x 64."""
    return _spec("ear_unet_small", "test_efficientnet", (32, 16, 16, 8, 8), 64)


def _spec(name: str, encoder: str, widths: tuple[int, ...], side: int) -> ModelSpec:
    def make():  # type: ignore[no-untyped-def]  # torch is imported where it is used
        from neurokit.models.common.optional import required
        from neurokit.models.ear_unet.net import EARUNet

        body = required("timm", "zoo", name).create_model(encoder, features_only=True, pretrained=False)
        return EARUNet(body, tuple(body.feature_info.channels()), widths)

    return segmenter(
        name,
        (3, side, side),
        make,
        description="a mask, and where the attention gates let the skip connections through",
        source=SOURCE,
        small=ear_unet_small,
        further=GATES,
    )
