"""MACMD: segmentation by a decoder of dilated gates and mixed levels on a Pyramid Vision Transformer."""

from __future__ import annotations

from neurokit.models.common.segmenter import segmenter
from neurokit.spec import ModelSpec, register_model

SOURCE = "Maurya et al., MACMD, 2025; own code from the published structure, parameters named as released"


@register_model
def macmd_b0() -> ModelSpec:
    """On PVTv2-B0: 5,892,000 parameters, 4,320 of them blocks that the public code makes anew in every call."""
    return _spec("macmd_b0", "B0", 224)


@register_model
def macmd_b2() -> ModelSpec:
    """On PVTv2-B2: 34,617,576 parameters."""
    return _spec("macmd_b2", "B2", 224)


def macmd_small() -> ModelSpec:
    """One block a stage, 16 to 32 wide, on images of 64 x 64."""
    return _spec("macmd_small", "TINY", 64)


def _spec(name: str, encoder: str, side: int) -> ModelSpec:
    def make():  # type: ignore[no-untyped-def]  # torch is imported where it is used
        from neurokit.models.common import pvt
        from neurokit.models.macmd.net import MACMD

        return MACMD(getattr(pvt, encoder), last=16 if encoder == "TINY" else 32)

    return segmenter(
        name,
        (1, side, side),
        make,
        description="segmentation of grey images into 9 classes by gated and mixed levels",
        source=SOURCE,
        small=macmd_small,
    )
