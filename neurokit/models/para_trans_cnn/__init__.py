"""ParaTransCNN: segmentation by a ResNet-34 and a pyramid of transformers side by side."""

from __future__ import annotations

from neurokit.models.common.segmenter import segmenter
from neurokit.spec import ModelSpec, register_model

SOURCE = "Sun et al., ParaTransCNN, 2024; own code from the published structure, parameters named as released"


@register_model
def para_trans_cnn_320() -> ModelSpec:
    """The published width at 224 px: 245,468,937 parameters."""
    return _spec("para_trans_cnn_320", 320, 224)


@register_model
def para_trans_cnn_64() -> ModelSpec:
    """A narrow transformer beside the same ResNet at 224 px: 53,792,777 parameters."""
    return _spec("para_trans_cnn_64", 64, 224)


@register_model
def para_trans_cnn_32() -> ModelSpec:
    """The narrowest at 64 px: 42,704,553 parameters."""
    return _spec("para_trans_cnn_32", 32, 64)


def para_trans_cnn_small() -> ModelSpec:
    """One block a stage on images of 32 x 32."""
    return _spec("para_trans_cnn_small", 16, 32, depth=1, residual=(1, 1, 1, 1))


def _spec(
    name: str, dim: int, side: int, depth: int = 3, residual: tuple[int, int, int, int] = (3, 4, 6, 3)
) -> ModelSpec:
    def make():  # type: ignore[no-untyped-def]  # torch is imported where it is used
        from neurokit.models.para_trans_cnn.net import ParaTransCNN

        return ParaTransCNN(dim, depth=depth, residual=residual)

    return segmenter(
        name,
        (3, side, side),
        make,
        seen=(3, min(side, 64), min(side, 64)),
        description="segmentation into 9 classes by convolutions and a transformer side by side",
        source=SOURCE,
        small=para_trans_cnn_small,
        large=dim > 128,
    )
