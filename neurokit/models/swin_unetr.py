"""Swin UNETR: segmentation of volumes by a shifted-window transformer with a convolutional decoder (MONAI's class)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.models.common.segmenter import segmenter
from neurokit.spec import ModelSpec, register_model

if TYPE_CHECKING:
    from torch import nn

# BraTS: T1, T1c, T2 and FLAIR at 1 mm, each scaled over what is not 0; three regions that lie inside each other.
BRATS = {"spacing_mm": [1.0, 1.0, 1.0], "intensity": "nonzero", "regions": ["enhancing", "whole", "core"]}
SOURCE = "Hatamizadeh et al., Swin UNETR, BrainLes 2021; MONAI (Apache-2.0)"


@register_model
def swin_unetr() -> ModelSpec:
    """Feature size 48 on crops of 96 voxels a side: 62,191,941 parameters; four modalities, three regions."""
    return _spec("swin_unetr", 48, (96, 96, 96))


@register_model
def swin_unetr_12() -> ModelSpec:
    """Feature size 12 on crops of 64 voxels a side: 4,079,373 parameters."""
    return _spec("swin_unetr_12", 12, (64, 64, 64))


def swin_unetr_small() -> ModelSpec:
    """Feature size 12 on a crop of 64 x 32 x 32: one window is not whole, and the coarsest map is no single voxel."""
    return _spec("swin_unetr_small", 12, (64, 32, 32))


def _spec(name: str, features: int, sides: tuple[int, int, int]) -> ModelSpec:
    def make() -> nn.Module:
        from neurokit.models.common.optional import required

        networks = required("monai.networks.nets", "zoo", name)
        module: nn.Module = networks.SwinUNETR(in_channels=4, out_channels=3, feature_size=features)
        return module

    return segmenter(
        name,
        (4, *sides),
        make,
        layout="CDHW",
        description="segmentation of tumour regions in volumes of four modalities",
        source=SOURCE,
        small=swin_unetr_small,
        settings=BRATS,
        large=features > 24,
    )
