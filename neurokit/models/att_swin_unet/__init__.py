"""Att-SwinU-Net: a Swin U-Net whose decoder uses the encoder's attention maps."""

from __future__ import annotations

from neurokit.models.common.segmenter import segmenter
from neurokit.spec import ModelSpec, register_model

SOURCE = "Aghdam et al., Att-SwinU-Net, 2022; own code from the published structure, parameters named as released"


@register_model
def att_swin_unet() -> ModelSpec:
    """Cross-attending skips at 224 px, maps of paired windows added: 32,689,956 parameters, 7,968 of them unread."""
    return _spec("att_swin_unet", {})


def att_swin_unet_small() -> ModelSpec:
    """Two stages 16 and 32 wide with windows of 4 x 4 on images of 64 x 64."""
    sizes = {"side": 64, "width": 16, "depths": (2, 2), "heads": (2, 4), "window": 4, "cross_width": 64}
    return _spec("att_swin_unet_small", sizes)


def _spec(name: str, sizes: dict[str, int | tuple[int, ...]]) -> ModelSpec:
    side = sizes.get("side", 224)
    assert isinstance(side, int)

    def make():  # type: ignore[no-untyped-def]  # torch is imported where it is used
        from neurokit.models.att_swin_unet.net import AttSwinUNet, SwinSizes

        return AttSwinUNet(SwinSizes(**sizes))  # type: ignore[arg-type]  # the two kinds of value are mixed in one dict

    return segmenter(
        name,
        (3, side, side),
        make,
        description="segmentation into 9 classes by shifted windows, the encoder's maps in the decoder",
        source=SOURCE,
        small=att_swin_unet_small,
    )
