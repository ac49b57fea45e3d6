"""Inputs that several models of the zoo take."""

from __future__ import annotations

from neurokit.spec import TensorSpec


def imagenet_image(shape: tuple[int, int, int]) -> TensorSpec:
    """Returns the port of an image `[C, H, W]` with ImageNet's normalisation of [0, 1]."""
    return TensorSpec("image", shape, low=-2.118, high=2.640)
