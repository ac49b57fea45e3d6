"""Meta-SpikeFormer (Spike-driven Transformer V2) in its three published sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.models.common.ports import imagenet_image
from neurokit.spec import ModelSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SHAPE = (3, 224, 224)
TIME_STEPS = 4
# Standard deviation of every normalised current of untrained weights; every layer then fires, a fifth on average.
UNTRAINED_SCALE = 1.6
SOURCE = "Yao et al., Spike-driven Transformer V2, ICLR 2024"


@register_model
def metaspikeformer_15m() -> ModelSpec:
    """Meta-SpikeFormer with 15,112,208 parameters."""
    return _spec("metaspikeformer_15m", (64, 128, 256, 360))


@register_model
def metaspikeformer_31m() -> ModelSpec:
    """Meta-SpikeFormer with 31,333,864 parameters."""
    return _spec("metaspikeformer_31m", (96, 192, 384, 480))


@register_model
def metaspikeformer_55m() -> ModelSpec:
    """Meta-SpikeFormer with 55,350,248 parameters."""
    return _spec("metaspikeformer_55m", (128, 256, 512, 640))


def metaspikeformer_small() -> ModelSpec:
    """One block of each kind at a third of the width, for images of 64 x 64: 31 neurons instead of 77."""
    # The statistics are set a little wider, or random queries and keys would not meet among 16 tokens.
    return _spec("metaspikeformer_small", (32, 64, 128, 128), (3, 64, 64), classes=10, depths=(1, 1, 1), scale=2.0)


def _spec(
    name: str,
    channels: tuple[int, int, int, int],
    shape: tuple[int, int, int] = SHAPE,
    classes: int = 1000,
    depths: tuple[int, int, int] = (2, 6, 2),
    scale: float = UNTRAINED_SCALE,
) -> ModelSpec:
    def build() -> nn.Module:
        from neurokit.data.synthetic import repeated_images
        from neurokit.models.common.untrained import build_untrained
        from neurokit.models.metaspikeformer.net import MetaSpikeFormer

        # Random queries and keys meet only among many tokens: statistics of small images would be those of silence.
        images = repeated_images(1, TIME_STEPS, 0, shape)
        return build_untrained(lambda: MetaSpikeFormer(channels, classes, depths), images, scale)

    def merge(module: nn.Module) -> nn.Module:
        from neurokit.models.metaspikeformer.net import merge_repconv

        return merge_repconv(module)

    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        from neurokit.data.synthetic import repeated_images

        return repeated_images(batch, time_steps, seed, shape)

    return ModelSpec(
        name=name,
        build=build,
        inputs=(imagenet_image(shape),),
        time_steps=TIME_STEPS,
        time_input="sequence",
        time_output="mean",
        description="spike-driven transformer, SDSA-3, ImageNet classes",
        source=SOURCE,
        options={"channels": list(channels)},
        merge_reparameterised=merge,
        example=example,
        small=metaspikeformer_small,
    )
