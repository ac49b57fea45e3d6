"""A decoder of structured awareness with Fourier and wavelet branches."""

from __future__ import annotations

from neurokit.models.common.segmenter import segmenter
from neurokit.spec import ModelSpec, register_model

SOURCE = "Structured awareness (ACFA, TFFA, SMMM), AAAI 2026; no code is published: faithful in form"


@register_model
def dsa_decoder() -> ModelSpec:
    """On PVTv2-B2 at 224 px; Fourier transforms are products with constants."""
    return _spec("dsa_decoder", "B2", 224)


def dsa_decoder_small() -> ModelSpec:
    """One block a stage, 16 to 32 wide, on images of 64 x 64."""
    return _spec("dsa_decoder_small", "TINY", 64)


def _spec(name: str, encoder: str, side: int) -> ModelSpec:
    def make():  # type: ignore[no-untyped-def]  # torch is imported where it is used
        from neurokit.models.common import pvt
        from neurokit.models.dsa_decoder.net import DSADecoder

        return DSADecoder(side, getattr(pvt, encoder))

    return segmenter(
        name,
        (3, side, side),
        make,
        description="segmentation into 9 classes by spatial, Fourier and wavelet branches",
        source=SOURCE,
        small=dsa_decoder_small,
    )
